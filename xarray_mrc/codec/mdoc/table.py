"""The table of the keys of a .mdoc, and the names of the columns that they become.

Source of the keys and units: SerialEM's page on file formats, "Image Metadata Files".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from xarray_mrc.codec.extended.table import COMMON_UNITS

__all__ = ["BY_KEY", "KEYS", "RESERVED", "MdocKey", "column_names"]


@dataclass(frozen=True, slots=True)
class MdocKey:
    """One row of the table: a key of a section, and the columns that its value fills.

    Parameters
    ----------
    key : str
        The key.
    names : tuple of str
        Name of the column of each number of the value.
    units : str
        Unit of the columns, if they have no common name.
    form : {"number", "text", "time"}
        How the value is written.
    zero_is_unknown : bool
        Zero means that SerialEM did not know the value.
    is_strict : bool
        Whether a value that is not a number makes the file unusable.
    """

    key: str
    names: tuple[str, ...]
    units: str = ""
    form: Literal["number", "text", "time"] = "number"
    zero_is_unknown: bool = False
    is_strict: bool = False

    @property
    def is_common(self) -> bool:
        """Return True if the columns have common names."""
        return self.names[0] in COMMON_UNITS

    @property
    def long_names(self) -> tuple[str, ...]:
        """The key, followed by ``x``, ``y`` and the like if it has several numbers."""
        if len(self.names) == 1:
            return (self.key,)
        return tuple(f"{self.key} {name.rpartition('_')[2]}" for name in self.names)


KEYS = (
    MdocKey("TiltAngle", ("tilt_angle",), is_strict=True),
    MdocKey("TiltAxisAngle", ("tilt_axis_angle",), is_strict=True),
    MdocKey("StagePosition", ("stage_x", "stage_y"), is_strict=True),
    MdocKey("StageZ", ("stage_z",), is_strict=True),
    MdocKey("Defocus", ("defocus",), is_strict=True),
    MdocKey("ExposureDose", ("dose",), zero_is_unknown=True, is_strict=True),  # 0: not calibrated
    MdocKey("PriorRecordDose", ("prior_dose",), is_strict=True),
    MdocKey("ExposureTime", ("exposure_time",), is_strict=True),
    MdocKey("Magnification", ("magnification",), is_strict=True),
    MdocKey("PixelSpacing", ("pixel_size",), is_strict=True),
    MdocKey("DateTime", ("timestamp",), form="time"),
    MdocKey("PieceCoordinates", ("piece_x", "piece_y", "piece_z")),
    MdocKey("SubFramePath", ("sub_frame_path",), form="text"),
    MdocKey("TargetDefocus", ("target_defocus",), "micrometer"),
    # In units of the microscope: close to micrometers for one maker, far from them for another.
    MdocKey("ImageShift", ("image_shift_x", "image_shift_y")),
    # Against the x axis, unlike the angle of the tilt axis.
    MdocKey("RotationAngle", ("rotation_angle",), "degree"),
    MdocKey("NominalStageXY", ("nominal_stage_x", "nominal_stage_y"), "micrometer"),
    MdocKey("SuperMontCoords", ("super_mont_coords_x", "super_mont_coords_y"), "pixel"),
    MdocKey("DoseRate", ("dose_rate",), "e-/pixel/s"),
    MdocKey("CameraLength", ("camera_length",), "mm"),
    MdocKey("CameraPixelSize", ("camera_pixel_size",), "micrometer"),
    MdocKey("Voltage", ("voltage",), "kV"),
    MdocKey("FEGCurrent", ("feg_current",), "nA"),
    MdocKey("MinMaxMean", ("image_min", "image_max", "image_mean")),
    MdocKey("FilterSlitAndLoss", ("filter_slit", "filter_loss")),
    MdocKey("FrameDosesAndNumber", ("frame_doses_and_number",), form="text"),
    MdocKey("FrameDosesAndNumbers", ("frame_doses_and_numbers",), form="text"),
    MdocKey("NavigatorLabel", ("navigator_label",), form="text"),
    MdocKey("ChannelName", ("channel_name",), form="text"),
)
BY_KEY = {row.key: row for row in KEYS}
TABLE_NAMES = {name for row in KEYS for name in row.names}
# Names of dimensions and other coordinates, which a key that nobody foresaw must not take.
RESERVED = {"x", "y", "z", "image", "volume", "rgb", "section", "data", "extended_header"}
RESERVED |= TABLE_NAMES | set(COMMON_UNITS)
PREFIX = "mdoc_"

MAX_WHOLE = 2**53  # larger whole numbers are not all floats
# SerialEM's names of months, which do not depend on the locale.
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def column_names(key: str, count: int) -> tuple[str, ...]:
    """Return the names of the columns of a key: snake_case, numbered from 1 if there are several.

    Examples
    --------
    >>> column_names("UsingCDS", 1), column_names("XedgeDxy", 2)
    (('using_cds',), ('xedge_dxy_1', 'xedge_dxy_2'))
    """
    row = BY_KEY.get(key)
    if row is not None and len(row.names) == count:
        return row.names
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", key)
    name = re.sub(r"[^0-9a-z]+", "_", words.lower()).strip("_")
    if not name.isidentifier() or name in RESERVED:
        name = PREFIX + name
    return (name,) if count == 1 else tuple(f"{name}_{i}" for i in range(1, count + 1))
