"""The accessors ``ds.mrc`` and ``da.mrc``: each method is one call to a public function."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from dask.delayed import Delayed
    from matplotlib.figure import Figure

    from xarray_mrc.checking.report import Report
    from xarray_mrc.codec.header import Header
    from xarray_mrc.multifile.batching import Batches
    from xarray_mrc.multifile.points import Points
    from xarray_mrc.pictures.projections import Method

__all__ = ["MrcAccessor"]


class MrcAccessor:
    """MRC files from a Dataset or DataArray: ``ds.mrc`` and ``da.mrc``.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        The object; nothing else is kept.

    Examples
    --------
    >>> import xarray as xr
    >>> x = xr.Variable("x", [2.0, 3.5], {"units": "angstrom"})
    >>> xr.DataArray([0.0, 1.0], {"x": x}, "x").mrc.voxel_size
    {'x': 1.5}
    """

    def __init__(self, obj: xr.Dataset | xr.DataArray) -> None:
        self._obj = obj

    @property
    def header(self) -> Header:
        """Header of the file that the object was opened from; it is read again.

        Raises
        ------
        ValueError
            The object does not know its file.
        OSError
            The file cannot be read any more.

        Examples
        --------
        >>> import xarray as xr
        >>> xr.open_dataset("tomo.mrc", engine="mrc").mrc.header.n  # doctest: +SKIP
        (1024, 1024, 300)
        """
        from xarray_mrc.dataset.from_file import file_of
        from xarray_mrc.reading.header_reading import read_header

        return read_header(file_of(self._obj))

    def extended_header(self) -> xr.Dataset:
        """Read the extended header of the file that the object was opened from.

        Returns
        -------
        Dataset
            Every valid field of the records of all sections of the file, along ``image``, under the
            name and in the unit of the producer; symmetry operators as the attribute
            ``mrc_symmetry``. ``isel(image=ds.section)`` selects the sections of the object.

        Raises
        ------
        ValueError
            The object does not know its file.
        OSError
            The file cannot be read any more.

        Warns
        -----
        MrcWarning
            The bytes do not fit the type that the file names.

        Examples
        --------
        >>> import xarray as xr
        >>> ds = xr.open_dataset("tilts.mrc", engine="mrc")  # doctest: +SKIP
        >>> ds.mrc.extended_header().applied_defocus  # doctest: +SKIP
        """
        from xarray_mrc.dataset.from_file import file_of
        from xarray_mrc.dataset.section_coords import extended_dataset

        return extended_dataset(file_of(self._obj))

    def validate(self, profile: str = "mrc2014", data: bool = True) -> Report:
        """Check the file that the object was opened from.

        Parameters
        ----------
        profile, data
            As in `xarray_mrc.validate`.

        Returns
        -------
        Report
            False if the file has errors.

        Raises
        ------
        ValueError
            The object does not know its file.
        OSError
            The file cannot be read any more.

        Examples
        --------
        >>> import xarray as xr
        >>> bool(xr.open_dataset("tomo.mrc", engine="mrc").mrc.validate())  # doctest: +SKIP
        True
        """
        from xarray_mrc.checking.validation import validate
        from xarray_mrc.dataset.from_file import file_of

        return validate(file_of(self._obj), profile, data)

    @property
    def voxel_size(self) -> dict[str, float]:
        """Distance between neighbours along x, y and z, from the coordinates.

        Returns
        -------
        dict
            Angstrom by dimension, without axes whose voxel size is not known.

        Raises
        ------
        ValueError
            A coordinate is not evenly spaced.

        Examples
        --------
        >>> import xarray as xr
        >>> x = xr.Variable("x", [2.0, 3.5], {"units": "angstrom"})
        >>> xr.DataArray([0.0, 1.0], {"x": x}, "x").mrc.voxel_size
        {'x': 1.5}
        """
        from xarray_mrc.dataset.axis_positions import voxel_size_of

        return voxel_size_of(self._obj)

    @property
    def kind(self) -> str:
        """Kind of the data, from the dimensions: "image", "image_stack", "volume", "volume_stack".

        Raises
        ------
        ValueError
            The dimensions are not those of an MRC file.

        Examples
        --------
        >>> import numpy as np
        >>> import xarray as xr
        >>> xr.DataArray(np.zeros((2, 3, 4)), dims=("z", "y", "x")).mrc.kind
        'volume'
        """
        from xarray_mrc.dataset.conventions import kind_of

        return kind_of(self._obj)

    def to_mrc(self, path: str | os.PathLike[str], **options: Any) -> Delayed | None:
        """Write the object as an MRC file.

        Parameters
        ----------
        path : str or os.PathLike
            The file to write.
        **options
            As in `xarray_mrc.to_mrc`, which also describes the errors and warnings.

        Returns
        -------
        Delayed or None
            With ``compute=False`` the work that is left to do.

        Examples
        --------
        >>> import numpy as np
        >>> import xarray as xr
        >>> data = xr.DataArray(np.zeros((2, 3, 4), "f4"), dims=("z", "y", "x"))
        >>> data.mrc.to_mrc("zeros.mrc")  # doctest: +SKIP
        """
        from xarray_mrc.writing.writer import to_mrc

        return to_mrc(self._obj, path, **options)

    def extract(
        self,
        points: Points,
        size: int | Mapping[str, int],
        *,
        fill: float | None = None,
        drop: bool = False,
    ) -> xr.DataArray:
        """Cut a box around each of many points of micrographs or tomograms.

        Parameters
        ----------
        points : mapping, xarray.Dataset or pandas.DataFrame
            Columns ``x``, ``y`` and, in a tomogram, ``z`` in angstrom, and others.
        size : int or mapping of str to int
            Voxels of a box along each axis.
        fill : float, optional
            Value of voxels beyond the edge; by default boxes that reach there are refused.
        drop : bool
            Whether to leave out the boxes that reach beyond the edge.

        Returns
        -------
        DataArray
            Dimension ``image`` over those of the data, as
            `xarray_mrc.multifile.box_extraction.extract_boxes` describes; lazy if the data are.

        Raises
        ------
        ValueError
            A box reaches beyond the edge, or the points do not fit the data.

        Examples
        --------
        >>> import numpy as np
        >>> import xarray as xr
        >>> at = np.arange(8) * 2.0
        >>> micrograph = xr.DataArray(np.zeros((8, 8)), {"y": at, "x": at}, ("y", "x"))
        >>> micrograph.mrc.extract({"x": [4.0, 9.1], "y": [4.0, 6.0]}, size=4).sizes
        Frozen({'image': 2, 'y': 4, 'x': 4})
        """
        from xarray_mrc.multifile.box_extraction import extract_boxes

        return extract_boxes(self._obj, points, size, fill=fill, drop=drop)

    def power_spectrum(self, *, rotational: bool | None = None) -> xr.DataArray:
        """Compute the power spectrum of each image, or of each volume averaged over directions.

        Parameters
        ----------
        rotational : bool, optional
            Whether to average over all directions; by default True for volumes.

        Returns
        -------
        DataArray
            Over frequencies in 1/angstrom, as `xarray_mrc.pictures.spectra.power_spectrum`
            describes; lazy if the data are in dask chunks.

        Raises
        ------
        ValueError
            An MRC file cannot have the dimensions of the object, or the pixels are colours.

        Examples
        --------
        >>> import numpy as np
        >>> import xarray as xr
        >>> noise = xr.DataArray(np.ones((3, 8, 8)), dims=("frame", "y", "x"))
        >>> noise.mrc.power_spectrum().mean("frame").sizes
        Frozen({'frequency_y': 8, 'frequency_x': 8})
        """
        from xarray_mrc.pictures.spectra import power_spectrum

        return power_spectrum(self._obj, rotational=rotational)

    def projection(self, dim: Hashable = "z", method: Method = "mean") -> xr.DataArray:
        """Project the data along a dimension.

        Parameters
        ----------
        dim : hashable
            The dimension to project along.
        method : {"mean", "sum", "max", "min", "std"}
            What becomes of the values along it.

        Returns
        -------
        DataArray
            As `xarray_mrc.pictures.projections.projection` describes; lazy if the data are in dask
            chunks.

        Raises
        ------
        ValueError
            There is no such dimension or method, or complex values have no such projection.

        Examples
        --------
        >>> import xarray as xr
        >>> data = xr.DataArray([[[1, 2]], [[3, 6]]], dims=("z", "y", "x"))
        >>> data.mrc.projection().values.tolist()
        [[2.0, 4.0]]
        """
        from xarray_mrc.pictures.projections import projection

        return projection(self._obj, dim, method)

    def batches(
        self,
        size: int,
        shuffle: bool = True,
        seed: int | Sequence[int] | np.random.Generator | None = None,
        drop_last: bool = False,
    ) -> Batches:
        """Return batches of images in memory, with the next ones read meanwhile.

        Parameters
        ----------
        size : int
            Number of images of a batch; the last one may have fewer.
        shuffle : bool
            Whether the images come in random order, another one in each pass.
        seed : int, sequence of int, numpy.random.Generator or None
            Makes the orders of the passes the same for each call.
        drop_last : bool
            Whether a last batch of fewer images is left out.

        Returns
        -------
        Batches
            An object with a length that can be iterated over again and again, as
            `xarray_mrc.multifile.batching.Batches` describes. A batch is a DataArray with the
            coordinates of its images.

        Raises
        ------
        ValueError
            The size is not positive, or not one dimension is that of the images.

        Examples
        --------
        >>> import numpy as np
        >>> import xarray as xr
        >>> images = xr.DataArray(np.zeros((10, 4, 4)), dims=("image", "y", "x"))
        >>> [batch.sizes["image"] for batch in images.mrc.batches(4)]
        [4, 4, 2]
        """
        from xarray_mrc.multifile.batching import Batches

        return Batches(self._obj, size, shuffle, seed, drop_last)

    def show(self) -> Figure:
        """Draw planes of the data, their histogram and the power spectrum.

        Returns
        -------
        matplotlib.figure.Figure
            As `xarray_mrc.pictures.figure.show` describes; it shows itself in a notebook.

        Raises
        ------
        ImportError
            matplotlib is not installed: ``pip install 'xarray-mrc[viz]'``.
        ValueError
            An MRC file cannot have the dimensions of the object.

        Examples
        --------
        >>> import xarray as xr
        >>> xr.open_dataset("tomo.mrc", engine="mrc").mrc.show()  # doctest: +SKIP
        """
        from xarray_mrc.pictures.figure import show

        return show(self._obj)
