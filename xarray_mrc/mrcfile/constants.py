"""Constants of the format, and the setting `CREATOR`."""

from __future__ import annotations

from xarray_mrc.codec.header import Header

__all__ = [
    "CREATOR",
    "IMAGE_STACK_SPACEGROUP",
    "MAP_ID",
    "MAP_ID_OFFSET_BYTES",
    "VOLUME_SPACEGROUP",
    "VOLUME_STACK_SPACEGROUP",
]

#: Start of the label of a new file, at most 40 characters. Set it to the name of your program.
CREATOR = "Created by xarray_mrc"

MAP_ID = b"MAP "
MAP_ID_OFFSET_BYTES = Header.map_id.offset

IMAGE_STACK_SPACEGROUP = 0
VOLUME_SPACEGROUP = 1
VOLUME_STACK_SPACEGROUP = 401
