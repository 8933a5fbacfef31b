"""Positions of the voxels: voxel size, first position and positions along each cell axis.

Formulas: CCP4 map format (fraction of the cell = (start + index) / M), MRC2014 (ORIGIN is the place
of the first voxel), and for skewed cells the usual orthogonalisation with a along X and b in the
XY plane (Giacovazzo, Fundamentals of Crystallography, section 2.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xarray_mrc.codec.decimals import DECIMALS, FARTHEST, Triple, first_position, shortest
from xarray_mrc.codec.header import Header
from xarray_mrc.codec.old_header import old_origin

__all__ = ["Geometry", "Origin", "axis_order", "cell_angles", "cell_matrix"]

Origin = Literal["auto", "origin", "nstart", "zero"]
OriginSource = Literal["origin", "nstart", "none"]

NSTART_LIMIT = 10  # times the grid: NSTART beyond that was never set
IMOD_ORIGIN_SIGN = 4
FLATTEST = 1e-3
RIGHT_ANGLES = (90.0, 90.0, 90.0)


def axis_order(header: Header) -> tuple[int, int, int]:
    """Return the axes (0, 1, 2 for X, Y, Z) of columns, rows and sections; X, Y, Z if not set.

    Parameters
    ----------
    header : Header
        The header of the file.

    Returns
    -------
    tuple of int

    Examples
    --------
    >>> axis_order(Header.blank().replace(mapc=3, mapr=2, maps=1))
    (2, 1, 0)
    """
    if sorted(header.mapcrs) != [1, 2, 3]:
        return (0, 1, 2)
    return (header.mapc - 1, header.mapr - 1, header.maps - 1)


def cell_angles(header: Header) -> Triple:
    """Return the cell angles in degrees; right angles if the stored ones make no cell.

    Parameters
    ----------
    header : Header
        The header of the file.

    Returns
    -------
    tuple of float

    Examples
    --------
    >>> cell_angles(Header.blank().replace(cellb=(0.0, 0.0, 0.0)))
    (90.0, 90.0, 90.0)
    """
    if header.cellb == RIGHT_ANGLES:
        return RIGHT_ANGLES
    angles = tuple(shortest(v) if math.isfinite(v) else math.nan for v in header.cellb)
    found = (angles[0], angles[1], angles[2])
    valid = all(0 < v < 180 for v in angles) and sum(angles) < 360 and 2 * max(angles) < sum(angles)
    # An almost flat cell passes these tests, but its matrix has no useful inverse.
    return found if valid and cell_matrix(found)[2, 2] > FLATTEST else RIGHT_ANGLES


def cell_matrix(angles: Triple) -> NDArray[np.float64]:
    """Return the unit vectors of the cell axes as the columns of a 3 x 3 matrix.

    Parameters
    ----------
    angles : tuple of float
        alpha, beta, gamma in degrees.

    Returns
    -------
    ndarray of float64, shape (3, 3)
        Its product with distances along a, b, c is X, Y, Z.

    Examples
    --------
    >>> cell_matrix((90.0, 90.0, 120.0)).round(3)[0].tolist()
    [1.0, -0.5, 0.0]
    """
    cos_a, cos_b, cos_g = (math.cos(math.radians(v)) if v != 90 else 0.0 for v in angles)
    sin_g = math.sin(math.radians(angles[2]))
    squared = 1 - cos_a**2 - cos_b**2 - cos_g**2 + 2 * cos_a * cos_b * cos_g
    height = math.sqrt(max(0.0, squared))
    return np.array(
        [
            [1.0, cos_g, cos_b],
            [0.0, sin_g, (cos_a - cos_b * cos_g) / sin_g],
            [0.0, 0.0, height / sin_g],
        ]
    )


def has_opposite_origin(header: Header) -> bool:
    """Return True if ORIGIN has IMOD's own sign, the opposite of the standard's.

    This holds for headers with IMOD's stamp, without its flag 4 and without a standard NVERSION.
    """
    return (
        header.has_imod_stamp
        and not header.imod_flags & IMOD_ORIGIN_SIGN
        and not header.is_standard_version
    )


def has_top_origin(header: Header) -> bool:
    """Return True if the first row is the top one, as in images of EPU and other FEI software."""
    return header.exttyp[:3] == b"FEI" and header.nversion == 20140 and not header.has_imod_stamp


def true_origin(header: Header) -> Triple | None:
    """Return the place of the first voxel in angstrom by ORIGIN; None if it is zero or no place.

    ORIGIN has IMOD's sign in files of IMOD, and lies elsewhere in headers from before 2000.
    """
    values = old_origin(header)
    sign = -1 if values or has_opposite_origin(header) else 1
    values = values or header.origin
    if not all(math.isfinite(v) and abs(v) <= FARTHEST for v in values) or not any(values):
        return None
    x, y, z = (shortest(sign * v) + 0.0 for v in values)
    return (x, y, z)


def true_nstart(header: Header) -> tuple[int, int, int] | None:
    """Return NSTART along X, Y, Z; None if it is zero or too far off to have been set."""
    start, length = [0, 0, 0], [0, 0, 0]
    for axis, first, n in zip(axis_order(header), header.nstart, header.n, strict=True):
        start[axis], length[axis] = first, n
    far = any(
        abs(s) > NSTART_LIMIT * max(n, m) for s, n, m in zip(start, length, header.m, strict=True)
    )
    return None if far or not any(start) else (start[0], start[1], start[2])


@dataclass(frozen=True, slots=True)
class Geometry:
    """Voxel size and start along X, Y, Z, or along the cell axes of a skewed cell.

    Attributes
    ----------
    voxel : tuple of float
        Voxel size in angstrom, nan where unknown.
    origin : tuple of float
        Start of the grid in angstrom; zero if `first` gives the start.
    first : tuple of int
        First grid point in voxels; zero if `origin` gives the start.
    origin_source : {"origin", "nstart", "none"}
        The header field that the start comes from.
    angles : tuple of float
        Cell angles in degrees.
    """

    voxel: Triple
    origin: Triple
    first: tuple[int, int, int]
    origin_source: OriginSource
    angles: Triple

    @classmethod
    def from_header(cls, header: Header, origin: Origin = "auto") -> Geometry:
        """Read the geometry from a header.

        Parameters
        ----------
        header : Header
            The header of the file.
        origin : {"auto", "origin", "nstart", "zero"}
            Where the start comes from. "auto" takes ORIGIN if it is finite and not zero (with
            IMOD's sign in a file of IMOD's), else NSTART.

        Returns
        -------
        Geometry

        Examples
        --------
        >>> header = Header.blank().replace(
        ...     nx=2, ny=2, nz=2, mx=4, my=4, mz=4, cella=(5.4, 5.4, 5.4), nxstart=2)
        >>> Geometry.from_header(header).start
        (2.7, 0.0, 0.0)
        """
        voxel, angles = header.voxel_size, cell_angles(header)
        place, grid = true_origin(header), true_nstart(header)
        if place is not None and origin in ("auto", "origin"):
            if angles != RIGHT_ANGLES:
                a, b, c = np.linalg.solve(cell_matrix(angles), place).tolist()
                place = (a, b, c)
            else:
                x, y, z = map(first_position, place, voxel)
                place = (x, y, z)
            return cls(voxel, place, (0, 0, 0), "origin", angles)
        nowhere = (0.0, 0.0, 0.0)
        if grid is not None and origin in ("auto", "nstart"):
            return cls(voxel, nowhere, grid, "nstart", angles)
        return cls(voxel, nowhere, (0, 0, 0), "none", angles)

    @property
    def start(self) -> Triple:
        """Position of the first voxel in angstrom."""
        x, y, z = (o + n * v for o, n, v in zip(self.origin, self.first, self.voxel, strict=True))
        return (x, y, z)

    @property
    def is_skewed(self) -> bool:
        """True if the cell axes are not at right angles."""
        return self.angles != RIGHT_ANGLES

    def positions(self, axis: int, count: int) -> NDArray[np.float64] | None:
        """Positions of the voxels along an axis.

        Parameters
        ----------
        axis : int
            0, 1, 2 for X, Y, Z.
        count : int
            Number of voxels.

        Returns
        -------
        ndarray of float64 or None
            Angstrom, rounded to 6 decimals so that cut-outs of one grid have equal positions; None
            if the voxel size is unknown.

        Examples
        --------
        >>> header = Header.blank().replace(mx=3, my=3, mz=3, cella=(4.05, 4.05, 4.05))
        >>> Geometry.from_header(header).positions(0, 3).tolist()
        [0.0, 1.35, 2.7]
        """
        if math.isnan(self.voxel[axis]):
            return None
        # Whole voxels are multiplied first, so that a cut-out gets the same numbers as its parent.
        found = np.arange(self.first[axis], self.first[axis] + count, dtype=np.float64)
        found *= self.voxel[axis]
        found += self.origin[axis]
        return found.round(DECIMALS, out=found)
