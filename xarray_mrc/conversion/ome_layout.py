"""All of an OME-Zarr group but the chunks: metadata of the image, its arrays and coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xarray_mrc.codec.contrast import contrast_limits
from xarray_mrc.conversion.group_layout import GroupLayout, layout_of
from xarray_mrc.conversion.ome_metadata import Axis, Channel, OmeVersion, group_attributes
from xarray_mrc.conversion.pyramid import Pyramid
from xarray_mrc.conversion.pyramid_tasks import LevelSample, merge_samples
from xarray_mrc.dataset.to_file import own_version

__all__ = ["OmeLayout"]

# Name of the group of coordinates that are no positions.
COORDINATES = "coordinates"
COLORS = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}
WHITE = "FFFFFF"


@dataclass(frozen=True)
class OmeLayout:
    """An OME-Zarr group without the values of its image.

    Attributes
    ----------
    version : OmeVersion
        The version of OME-Zarr.
    axes : tuple of Axis
        The axes of the image.
    pyramid : Pyramid
        Its levels.
    dtype : dtype
        Data type of the levels.
    name : str
        Name of the image.
    label : str
        Name of its channel, if it has no colours.
    method : str
        How the levels are made.
    metadata : mapping
        More about the image, in plain types.
    compressors : object
        Compressors of the chunks, as zarr takes them.
    coordinates : xarray.Dataset
        Coordinates that are no positions.
    has_translation : bool
        Whether the positions of the first voxels are written.
    """

    version: OmeVersion
    axes: tuple[Axis, ...]
    pyramid: Pyramid
    dtype: np.dtype[Any]
    name: str
    label: str
    method: str
    metadata: Mapping[str, Any]
    compressors: Any
    coordinates: xr.Dataset
    has_translation: bool = True

    def documents(self, results: Sequence[Sequence[Any]]) -> dict[str, bytes]:
        """Return the content of the files by key, with contrast limits from the tasks."""
        return self.lay_out(self.channels(merge_samples(results))).documents

    def channels(self, samples: Sequence[LevelSample]) -> list[Channel]:
        """Return the channels with their contrast limits; complex numbers have none."""
        if self.dtype.kind == "c":
            return []
        names = COLORS if len(samples) == len(COLORS) else {self.label: WHITE}
        found = []
        for (label, color), sample in zip(names.items(), samples, strict=True):
            black, white = contrast_limits(np.array(sample.values, np.float64))
            least, greatest = min(sample.least, black), max(sample.greatest, white)
            found.append(Channel(label, color, least, greatest, black, white))
        return found

    def lay_out(self, channels: Sequence[Channel] = ()) -> GroupLayout:
        """Make the metadata in memory."""
        import zarr
        from zarr.storage import MemoryStore

        levels, form = self.pyramid.levels, self.version.zarr_format
        attributes = group_attributes(
            self.version,
            self.axes,
            [max(level.factors) for level in levels],
            name=self.name,
            method=self.method,
            metadata=self.metadata,
            channels=channels,
            creator={"name": "xarray_mrc", "version": own_version()},
            has_translation=self.has_translation,
        )
        files: dict[str, Any] = {}
        store = MemoryStore(files)
        root = zarr.create_group(store, zarr_format=form, attributes=attributes)
        described: dict[str, Any] = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
        if form == 3:
            described = {"dimension_names": [axis.name for axis in self.axes]}
        for number, level in enumerate(levels):
            root.create_array(
                str(number),
                shape=level.shape,
                dtype=self.dtype,
                chunks=level.chunks,
                shards=level.shards,
                compressors=self.compressors,
                filters=None,
                fill_value=0,
                **described,
            )
        if self.coordinates.variables:
            self.coordinates.to_zarr(
                store, group=COORDINATES, mode="a", consolidated=False, zarr_format=form
            )
        return layout_of(files, [str(number) for number in range(len(levels))], form)
