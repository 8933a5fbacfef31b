"""Symmetry records: 80 characters each, one operator or several with a star between them."""

from __future__ import annotations

import re

from xarray_mrc.codec.extended.table import Extended

#: Characters in one record.
RECORD = 80

#: The first space group of each run of one order of the point group, and that order.
_ORDERS = (
    (1, 1), (2, 2), (10, 4), (47, 8), (75, 4), (83, 8), (123, 16), (143, 3), (147, 6), (162, 12),
    (168, 6), (175, 12), (191, 24), (195, 12), (200, 24), (221, 48),
)  # fmt: skip
#: Points of the lattice in a cell: primitive, centred, rhombohedral on hexagonal axes, all faces.
_CENTRINGS = (1, 2, 3, 4)

_PRINTABLE = bytes([0, *range(0x20, 0x7F)])
_NUMBER = r"(?:[0-9]+/[1-9][0-9]*|[0-9]+\.?[0-9]*|\.[0-9]+)"
_AXIS = rf"[+-]?(?:[XYZ]|{_NUMBER})(?:[+-](?:[XYZ]|{_NUMBER}))*"
_OPERATOR = re.compile(rf"{_AXIS},{_AXIS},{_AXIS}")


def is_operator(text: str) -> bool:
    """Return True if a text without blanks, in capitals, is a symmetry operator.

    Parameters
    ----------
    text : str
        For example "-X,Y+1/2,-Z".

    Returns
    -------
    bool
        Three sums of axes and fractions, each with an axis in it.
    """
    if _OPERATOR.fullmatch(text) is None:
        return False
    return all(any(axis in part for axis in "XYZ") for part in text.split(","))


def operator_counts(space_group: int) -> tuple[int, ...]:
    """Return how many operators a space group can have, for each way to centre its cell.

    Parameters
    ----------
    space_group : int
        1 to 230.

    Returns
    -------
    tuple of int
    """
    order = max(_ORDERS, key=lambda run: (run[0] <= space_group, run[0]))[1]
    return (1,) if space_group == 1 else tuple(order * points for points in _CENTRINGS)


def read(raw: bytes) -> Extended | str:
    """Read the operators, or return why the bytes are not symmetry records.

    Parameters
    ----------
    raw : bytes
        The extended header.

    Returns
    -------
    Extended or str
        The operators in the order of the file, or the reason against them.
    """
    if len(raw) % RECORD:
        return f"it is {len(raw)} bytes long, where whole records of {RECORD} are expected"
    if raw.translate(None, _PRINTABLE):
        return "it holds bytes that are not printable, where symmetry operators are expected"
    operators: list[str] = []
    for start in range(0, len(raw), RECORD):
        record = raw[start : start + RECORD].replace(b"\0", b" ").decode("ascii").upper()
        for piece in record.split("*"):
            text = "".join(piece.split())
            if not text:
                continue
            if not is_operator(text):
                return f"it holds {text!r}, where a symmetry operator such as X,Y,Z is expected"
            operators.append(text)
    if not operators:
        return "it is blank, where symmetry operators are expected"
    return Extended("CCP4", symmetry=tuple(operators))
