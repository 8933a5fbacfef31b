"""Metadata of OME-Zarr: axes with positions, and the JSON of each version from one table."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from xarray_mrc.codec.decimals import step_of
from xarray_mrc.codec.geometry import RIGHT_ANGLES
from xarray_mrc.codec.header import Header
from xarray_mrc.codec.header_table import as_values
from xarray_mrc.codec.layout import Kind
from xarray_mrc.conversion.block_means import Factors
from xarray_mrc.dataset.axis_positions import AxisPositions, read_positions
from xarray_mrc.dataset.conventions import AXES
from xarray_mrc.dataset.positions_to_header import (
    angles_noted,
    continued,
    missing_axes,
    unit_notes,
)

__all__ = [
    "Axis",
    "Channel",
    "OmeVersion",
    "OmeVersionName",
    "Profile",
    "axes_of",
    "group_attributes",
    "ome_version",
    "portal_axes",
    "source_fields",
]

OmeVersionName = Literal["0.4", "0.5", "0.6"]
Profile = Literal["cryoet-portal"]

# Name of the coordinate system that the levels share.
PHYSICAL = "physical"
# Scales and translations are known to the decimals of positions; more are noise of floating point.
DIGITS = 9
# Images have no type. The schemas of 0.4 and 0.5 count an axis without one among those of space.
STACK_TYPES = {"volume": "volume", "rgb": "channel"}
# The portal rounds voxel sizes to these places.
PORTAL_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class OmeVersion:
    """Where a version of OME-Zarr keeps its metadata.

    Attributes
    ----------
    name : str
        The version, as the metadata state it.
    zarr_format : {2, 3}
        The Zarr format that the version prescribes.
    key : str
        Attribute of the group that holds everything; "" if the group's attributes do.
    has_systems : bool
        Whether axes belong to named coordinate systems, and a scale and a translation are a
        sequence from an array to a system.
    names_types : bool
        Whether each axis states a type, if only its own name: ngff-zarr reads no 0.6 without.
    """

    name: OmeVersionName
    zarr_format: Literal[2, 3]
    key: str
    has_systems: bool
    names_types: bool


OME_VERSIONS = {
    version.name: version
    for version in (
        OmeVersion("0.4", 2, "", False, False),
        OmeVersion("0.5", 3, "ome", False, False),
        OmeVersion("0.6", 3, "ome", True, True),
    )
}


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of the arrays, with the positions along it in the first one.

    Attributes
    ----------
    name : str
        Its name in the metadata.
    dim : hashable
        Dimension of the xarray object.
    length : int
        Number of voxels.
    type : str
        Its type: "space", "channel", or one that only we use; "" for none.
    unit : str
        Unit of step and start; "" if the voxel size is unknown.
    step : float
        Distance of two voxels; 1 if it is unknown.
    start : float
        Position of the first voxel.
    is_binned : bool
        Whether the coarse levels have fewer voxels along it.
    """

    name: str
    dim: Hashable
    length: int
    type: str = ""
    unit: str = ""
    step: float = 1.0
    start: float = 0.0
    is_binned: bool = False

    def factor(self, factor: int) -> int:
        """Return the voxels that one of a level stands for: not more than there are."""
        return min(factor, self.length) if self.is_binned else 1

    def json(self, version: OmeVersion) -> dict[str, str]:
        """Return name, type and unit, without those that are not known."""
        type_ = self.type or (self.name if version.names_types else "")
        found = {"name": self.name, "type": type_, "unit": self.unit}
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Channel:
    """How a viewer shows a channel.

    Attributes
    ----------
    label : str
        Its name.
    color : str
        Six hexadecimal digits.
    least, greatest : float
        Range of the values.
    black, white : float
        Values that are drawn black and in full colour.
    """

    label: str
    color: str
    least: float
    greatest: float
    black: float
    white: float

    @property
    def json(self) -> dict[str, Any]:
        """The entry of ``omero.channels``."""
        window = {"min": self.least, "max": self.greatest, "start": self.black, "end": self.white}
        return {"label": self.label, "color": self.color, "active": True, "window": window}


def ome_version(name: str) -> OmeVersion:
    """Return the row of the table of versions; ValueError if there is none of this name.

    Parameters
    ----------
    name : str
        The version.

    Returns
    -------
    OmeVersion

    Examples
    --------
    >>> ome_version("0.4").zarr_format
    2
    """
    if name not in OME_VERSIONS:
        raise ValueError(f"version={name!r}, expected one of {', '.join(get_args(OmeVersionName))}")
    return OME_VERSIONS[name]


def axes_of(
    array: xr.DataArray, kind: Kind, dims: Mapping[str, Hashable]
) -> tuple[tuple[Axis, ...], list[str]]:
    """Find the axes of an array in the order of OME-Zarr, and what they do not hold.

    Parameters
    ----------
    array : xarray.DataArray
        The array, with its coordinates.
    kind : {"image", "image_stack", "volume", "volume_stack"}
        Its kind.
    dims : mapping
        Its dimension for each dimension of the kind, as `match_dims` returns it.

    Returns
    -------
    axes : tuple of Axis
        Images or volumes first, or the colours as channels, then z, y and x.
    notes : list of str
        Sentences for the one warning: positions that are not written, or not as they are.

    Raises
    ------
    ValueError
        The positions along an axis are not even and increasing, or the array has both images and
        colours along axes of their own, which OME-Zarr does not allow.

    Examples
    --------
    >>> x = xr.Variable("x", [2.5, 5.0], {"units": "angstrom"})
    >>> array = xr.DataArray([[1, 2], [3, 4]], {"x": x}, ("y", "x"))
    >>> axes, notes = axes_of(array, "image", {"y": "y", "x": "x"})
    >>> [(axis.name, axis.unit, axis.step, axis.start) for axis in axes]
    [('y', '', 1.0, 0.0), ('x', 'angstrom', 2.5, 2.5)]
    """
    slow = kind.removesuffix("_stack")
    if "rgb" in dims and slow in dims:
        raise ValueError(
            f"the data are a stack of colour {slow}s, but OME-Zarr has one axis for either, "
            f"colours or {slow}s: write one {slow}, as in obj.isel({dims[slow]}=0)"
        )
    read = {axis: read_positions(array, axis, dims.get(axis)) for axis in AXES if axis in dims}
    known = {axis: found for axis, found in read.items() if isinstance(found, AxisPositions)}
    reasons = {axis: found for axis, found in read.items() if isinstance(found, str)}
    for axis in sorted(missing_axes(array, dims, known, set(reasons), {})):
        reasons[axis] = "it has no coordinate"
    lines = {axis: continued(found, None) for axis, found in known.items()}
    steps = {axis: step_of(line, line.size) for axis, line in lines.items() if line.size > 1}
    usual = next((steps[axis] for axis in AXES if axis in steps), None)
    found = []
    for name, dim in dims.items():
        length = array.sizes[dim]
        if name not in AXES:
            type_ = STACK_TYPES.get(name, "")
            found.append(Axis("c" if name == "rgb" else name, dim, length, type_))
            continue
        space = Axis(name, dim, length, "space", is_binned=True)
        # An axis of one voxel has the voxel size of the others, as in a file.
        step = steps.get(name, usual if length == 1 else None)
        if step is not None:
            start = float(lines[name][0]) if name in lines else 0.0
            space = replace(space, unit="angstrom", step=step, start=start)
        elif name in lines:
            reasons[name] = "its voxel size is unknown"
        found.append(space)
    found.sort(key=lambda axis: axis.type == "space")  # stable: the order of OME-Zarr
    angles, notes = angles_noted(array, known)
    if angles != RIGHT_ANGLES:
        notes.append(
            f"the cell angles {tuple(angles)} are not written: OME-Zarr places the voxels on "
            f"axes at right angles, and positions are distances along the axes of the cell"
        )
    notes += unit_notes(known)
    notes += [f"the positions along {axis} are not written ({reasons[axis]})" for axis in reasons]
    return tuple(found), notes


def portal_axes(axes: Sequence[Axis]) -> tuple[Axis, ...]:
    """Return axes as the CryoET Data Portal writes them.

    Parameters
    ----------
    axes : sequence of Axis
        The axes of a volume or of a stack of images.

    Returns
    -------
    tuple of Axis
        z, y and x in angstrom, from 0 on, with voxel sizes of three decimals. The images of a tilt
        series are along z too, and are not binned.

    Raises
    ------
    ValueError
        The data are neither, or have no voxel size.

    Examples
    --------
    >>> axes = [Axis(name, name, 4, "space", "angstrom", 1.23456, 9.0, True) for name in "zyx"]
    >>> portal_axes(axes)[0].step
    1.235
    """
    if [axis.name for axis in axes] not in (["z", "y", "x"], ["image", "y", "x"]):
        names = ", ".join(axis.name for axis in axes)
        raise ValueError(
            f"profile='cryoet-portal': the axes are {names}, expected a volume (z, y, x) or a "
            f"tilt series; leave profile= out"
        )
    if not all(axis.unit for axis in axes[1:]) or (axes[0].name == "z" and not axes[0].unit):
        raise ValueError(
            "profile='cryoet-portal': the voxel size is unknown, but the portal's axes are in "
            "angstrom; set it with xarray_mrc.edit_header(path, voxel_size=...) first"
        )
    first = axes[0] if axes[0].name == "z" else replace(axes[0], name="z", step=axes[1].step)
    return tuple(
        replace(
            axis, type="space", unit="angstrom", step=round(axis.step, PORTAL_DECIMALS), start=0.0
        )
        for axis in (first, *axes[1:])
    )


def group_attributes(
    version: OmeVersion,
    axes: Sequence[Axis],
    factors: Sequence[int],
    *,
    name: str,
    method: str,
    metadata: Mapping[str, Any],
    channels: Sequence[Channel] = (),
    creator: Mapping[str, str] | None = None,
    has_translation: bool = True,
) -> dict[str, Any]:
    """Return the attributes of the group of a pyramid.

    Parameters
    ----------
    version : OmeVersion
        The version of OME-Zarr.
    axes : sequence of Axis
        The axes of the arrays.
    factors : sequence of int
        Voxels along a binned axis of the first array for one of each array: 1, 2, 4, ...
    name : str
        Name of the image.
    method : str
        How the levels were made.
    metadata : mapping
        More about it, in plain types.
    channels : sequence of Channel
        How viewers show the channels.
    creator : mapping, optional
        Name and version of the program.
    has_translation : bool
        Whether the positions of the first voxels are written.

    Returns
    -------
    dict
        Plain types for JSON.

    Notes
    -----
    A voxel of a level is at the mean position of the voxels that it stands for, as in xarray's
    ``coarsen(...).mean()``: the translation is ``start + (factor - 1) / 2 * step``. The positions
    of a level are a regular grid, so a last block that is incomplete has the place of a whole one.

    Examples
    --------
    >>> axes = [Axis(axis, axis, 8, "space", "angstrom", 10.0, 0.0, True) for axis in "yx"]
    >>> found = group_attributes(ome_version("0.4"), axes, (1, 2), name="a", method="mean",
    ...                          metadata={})
    >>> found["multiscales"][0]["datasets"][1]["coordinateTransformations"]
    [{'type': 'scale', 'scale': [20.0, 20.0]}, {'type': 'translation', 'translation': [5.0, 5.0]}]
    """
    datasets = []
    for level, factor in enumerate(factors):
        lengths = tuple(axis.factor(factor) for axis in axes)
        steps = transformations(axes, lengths, has_translation=has_translation)
        if version.has_systems:
            steps = [placed(steps, str(level))]
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    described = [axis.json(version) for axis in axes]
    multiscale: dict[str, Any] = {"name": name, "type": method, "datasets": datasets}
    if version.has_systems:
        multiscale["coordinateSystems"] = [{"name": PHYSICAL, "axes": described}]
    else:
        multiscale["axes"] = described
    multiscale["metadata"] = plain(metadata)
    found: dict[str, Any] = {"multiscales": [multiscale]}
    if not version.key:  # then each multiscale states the version
        multiscale["version"] = version.name
    else:
        found = {"version": version.name} | found
    if channels:
        model = "greyscale" if len(channels) == 1 else "color"
        found["omero"] = {
            "channels": [channel.json for channel in channels],
            "rdefs": {"model": model},
        }
    if creator:
        found["_creator"] = dict(creator)
    return {version.key: found} if version.key else found


def transformations(
    axes: Sequence[Axis], lengths: Factors, *, has_translation: bool
) -> list[dict[str, Any]]:
    """Return the scale and the translation of a level."""
    scale, start = [], []
    for axis, length in zip(axes, lengths, strict=True):
        scale.append(round(axis.step * length, DIGITS))
        start.append(round(axis.start + (length - 1) / 2 * axis.step, DIGITS))
    found: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    return [*found, {"type": "translation", "translation": start}] if has_translation else found


def placed(steps: list[dict[str, Any]], path: str) -> dict[str, Any]:
    """Return one transformation from the array at a path to the coordinate system, as in 0.6."""
    whole = {"type": "sequence", "transformations": steps} if len(steps) > 1 else steps[0]
    return whole | {"input": {"path": path}, "output": {"name": PHYSICAL}}


def source_fields(header: Header) -> dict[str, Any]:
    """Return the fields of a header under the names and in the groups of mrcfile's.

    Parameters
    ----------
    header : Header
        The header of the source.

    Returns
    -------
    dict

    Examples
    --------
    >>> source_fields(Header.blank())["cellb"]
    {'alpha': 90.0, 'beta': 90.0, 'gamma': 90.0}
    """
    fields = as_values(header)
    for name, parts in (
        ("cella", ("x", "y", "z")),
        ("cellb", ("alpha", "beta", "gamma")),
        ("origin", ("x", "y", "z")),
    ):
        fields[name] = dict(zip(parts, fields[name], strict=True))
    fields["map"] = fields.pop("map_id")
    found: dict[str, Any] = plain(fields | {"label": list(header.labels)})
    return found


def plain(value: Any) -> Any:
    """Return a value in the types of JSON; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | None) else str(value)
