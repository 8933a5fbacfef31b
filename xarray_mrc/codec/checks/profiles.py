"""The checks that only some profiles run: rules of an archive beyond the standard.

Sources: EMDB's page on map deposition and its map format (CCP4: a map lies on a grid that holds the
origin, so NSTART gives its position); the checks of MRC files in the CryoET Data Portal's own test
suite.
"""

from __future__ import annotations

from xarray_mrc.codec.checks.base import Check, Facts, when
from xarray_mrc.codec.checks.content import trailing_bytes
from xarray_mrc.codec.geometry import RIGHT_ANGLES
from xarray_mrc.codec.header import Header

__all__ = ["PROFILE_CHECKS"]

MAP_MODES = (0, 1, 2, 6, 12)
PORTAL_MODES = (0, 1, 2, 6)
PORTAL_SLACK = 2**20  # bytes after the data that the portal accepts
SAME_SPACING = 1e-3
EMDB_CONTAINERS = ("", "gzip", "bzip2")


def one_volume(facts: Facts) -> str | None:
    if facts.layout is None or facts.layout.kind == "volume":
        return None
    return f"the file was read as {facts.layout.kind.replace('_', ' ')}, expected one volume"


def constant_data(facts: Facts) -> str | None:
    if facts.data is None or not facts.data.count or facts.data.minimum != facts.data.maximum:
        return None
    return f"all values are {facts.data.minimum:g}"


def much_trailing(facts: Facts) -> str | None:
    found = trailing_bytes(facts)
    if not found or not facts.layout or (facts.size or 0) - facts.layout.end <= PORTAL_SLACK:
        return None
    return found


def differs_from_grid(header: Header) -> bool:
    wanted = (header.nx, header.ny, 1 if header.ispg == 0 else header.nz)
    return header.m != wanted


def is_uneven(header: Header) -> bool:
    sizes = header.voxel_size[: 2 if header.ispg == 0 else 3]
    return max(sizes) - min(sizes) > SAME_SPACING


# fmt: off
PROFILE_CHECKS: tuple[Check, ...] = (
    Check("P01", None, False, "the data are one volume", one_volume),
    Check("P02", None, False, "the file is plain, gzip or bzip2", lambda facts: (
        f"the file is packed with {facts.container}, expected gzip, bzip2 or neither"
        if facts.container not in EMDB_CONTAINERS else None)),
    Check("P03", None, False, "EMDB accepts the mode", when(
        lambda h: h.mode not in MAP_MODES,
        lambda h: f"mode is {h.mode}, expected one of {MAP_MODES}")),
    Check("P04", None, False, "NSTART states the position", when(
        lambda h: any(h.origin),
        lambda h: f"ORIGIN is {h.origin}, which is left out of account; expected the place in "
                  f"NSTART, which is {h.nstart}")),
    Check("P05", None, False, "the data are not constant", constant_data),
    Check("P06", None, False, "the portal accepts the mode", when(
        lambda h: h.mode not in PORTAL_MODES,
        lambda h: f"mode is {h.mode}, expected one of {PORTAL_MODES}")),
    Check("P07", None, False, "the axes are X, Y, Z", when(
        lambda h: h.mapcrs != (1, 2, 3), lambda h: f"the axes are {h.mapcrs}, expected (1, 2, 3)")),
    Check("P08", None, False, "MX, MY, MZ equal NX, NY, NZ", when(
        differs_from_grid,
        lambda h: f"mx, my, mz are {h.m} with nx, ny, nz {h.n}, expected these, but mz 1 for "
                  f"images")),
    Check("P09", None, False, "the cell angles are 90 degrees", when(
        lambda h: h.cellb != RIGHT_ANGLES,
        lambda h: f"the cell angles are {h.cellb}, expected 90, 90, 90")),
    Check("P10", None, False, "ORIGIN is zero", when(
        lambda h: any(h.origin), lambda h: f"ORIGIN is {h.origin}, expected zeros")),
    Check("P11", None, False, "NSTART is zero", when(
        lambda h: any(h.nstart), lambda h: f"NSTART is {h.nstart}, expected zeros")),
    Check("P12", None, False, "the space group is 0 or 1", when(
        lambda h: h.ispg not in (0, 1),
        lambda h: f"the space group is {h.ispg}, expected 1, or 0 for images")),
    Check("P13", None, False, "at most 1 MiB follows the data", much_trailing),
    Check("P14", None, False, "the voxel size is the same along all axes", when(
        is_uneven, lambda h: f"the voxel size is {h.voxel_size}, expected equal numbers")),
)
# fmt: on
