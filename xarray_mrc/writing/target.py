"""The file that is written: its name, its container, and whether it may be there already."""

from __future__ import annotations

import os
from typing import Literal

from xarray_mrc.codec.containers import named_container, plain_name
from xarray_mrc.storage.compressed.encoders import Encoder, encoder_for

__all__ = ["Compression", "MrcFormat", "check_suffix", "choose_encoder"]

Compression = Literal["infer", "gzip", "bzip2", "zstd"] | None
MrcFormat = Literal["mrc"] | None

# Other programs go by these suffixes, and would take an MRC file with one for a damaged file.
FOREIGN_SUFFIXES = {
    suffix: title
    for title, suffixes in {
        "TIFF": ".tif .tiff",
        "a picture": ".png .jpg .jpeg .jp2 .gif .bmp .webp .svg .pdf .eps",
        "netCDF": ".nc .nc4 .netcdf .cdf",
        "HDF5": ".h5 .hdf5 .hdf .he5 .hspy .emd",
        "Zarr": ".zarr .zspy",
        "an archive": ".zip .tar .tgz .7z .rar",
        "NIfTI": ".nii",
        "NRRD": ".nrrd",
        "Digital Micrograph": ".dm3 .dm4",
        "EER": ".eer",
        "TIA": ".ser .emi",
        "EM": ".em",
        "SPIDER": ".spi",
        "IMAGIC": ".img .hed",
        "numpy": ".npy .npz",
        "MATLAB": ".mat",
        "numbers without a header": ".raw",
        "a table or text": ".star .cs .csv .tsv .json .xml .txt .mdoc .tlt .rawtlt .xf",
        "an atomic model": ".pdb .cif .mmcif",
        "Python objects": ".pkl .pickle",
    }.items()
    for suffix in suffixes.split()
}


def check_suffix(path: str, format: MrcFormat = None) -> None:
    """Raise ValueError if the name of a new MRC file is that of another format.

    Parameters
    ----------
    path : str
        Path of the file; the suffix of a container is looked through.
    format : {"mrc"}, optional
        "mrc" allows any name.

    Examples
    --------
    >>> check_suffix("tomo.mrc.gz")
    >>> check_suffix("tomo.tif", "mrc")
    """
    if format not in (None, "mrc"):
        raise ValueError(f"format={format!r}, expected 'mrc' or None")
    suffix = os.path.splitext(plain_name(path))[1].lower()
    title = FOREIGN_SUFFIXES.get(suffix)
    if title is None or format == "mrc":
        return
    advice = "choose a name that ends in .mrc, or pass format='mrc' to write an MRC file"
    if suffix == ".zarr":
        advice = f"write a Zarr group with obj.to_zarr or xarray_mrc.convert, or {advice}"
    raise ValueError(f"{path}: the suffix {suffix} names another format ({title}); {advice}")


def choose_encoder(compression: Compression, path: str, level: int | None = None) -> Encoder | None:
    """Return the encoder of a new file, or None if it is plain, which has no level."""
    container = named_container(path) if compression == "infer" else compression
    if container:
        return encoder_for(container, level)
    if level is not None:
        raise ValueError(
            f"compression_level={level!r} was passed, but {path} is not compressed: name it .gz, "
            f".bz2 or .zst, or pass compression="
        )
    return None
