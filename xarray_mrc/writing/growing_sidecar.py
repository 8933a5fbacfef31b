"""The sidecar of a stack that grows: the lines of new images after those of the others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from xarray_mrc.codec.mdoc import tilt_axis_angle
from xarray_mrc.dataset.section_metadata import WrittenSidecar
from xarray_mrc.storage.local_sink import BINARY, write_at

__all__ = ["grown_sidecar"]

SECTION_HEAD = re.compile(rb"^\[ZValue\s*=\s*(\d+)\s*\]", re.MULTILINE)
ANGLE_LINE = re.compile(rb"^[^\S\n]*\S.*$", re.MULTILINE)
STARTS: dict[WrittenSidecar, re.Pattern[bytes]] = {"mdoc": SECTION_HEAD, "rawtlt": ANGLE_LINE}


@contextmanager
def grown_sidecar(
    target: str, sidecar: WrittenSidecar | None, text: str, sections: int
) -> Iterator[None]:
    """Append the lines of new images to a sidecar, and take them away again after an error.

    Parameters
    ----------
    target : str
        The stack.
    sidecar : {"mdoc", "rawtlt"} or None
        Which sidecar; None for none.
    text : str
        The sidecar of the new images alone, counted from 0.
    sections : int
        Number of images that are there. Lines of more, which an interrupted call left, are
        replaced.

    Raises
    ------
    ValueError
        The sidecar describes fewer images than there are.
    FileNotFoundError
        There is no sidecar.
    """
    if sidecar is None:
        yield
        return
    path = f"{target}.{sidecar}"
    descriptor = os.open(path, os.O_RDWR | BINARY)
    try:
        old = os.read(descriptor, os.fstat(descriptor).st_size)
        starts = [found.start() for found in STARTS[sidecar].finditer(old)]
        if len(starts) < sections:
            raise ValueError(
                f"{path} describes {len(starts)} of the {sections} images that are there, so that "
                f"those of new ones cannot follow: append without sidecar=, or complete it first"
            )
        end = starts[sections] if len(starts) > sections else len(old)
        gap = b"" if old[:end].endswith(b"\n") else b"\n"
        os.truncate(descriptor, end)
        write_at(descriptor, end, gap + lines_of(text, sidecar, sections, old[: starts[0]]))
        os.fsync(descriptor)
        try:
            yield
        except BaseException:
            os.truncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)


def lines_of(text: str, sidecar: WrittenSidecar, sections: int, head: bytes) -> bytes:
    """Return the lines of new images, counted on from those that are there.

    The head of the sidecar stays. If it states another angle of the tilt axis, or none, each new
    section states its own.
    """
    raw = text.encode()
    first = STARTS[sidecar].search(raw)
    start = first.start() if first else 0
    body = raw[start:]
    if sidecar == "rawtlt":
        return body
    axis = tilt_axis_angle(raw[:start].decode())
    is_stated = axis in (None, tilt_axis_angle(head.decode(errors="replace")))
    line = b"" if is_stated else f"\nTiltAxisAngle = {axis!r}".encode()

    def counted_on(found: re.Match[bytes]) -> bytes:
        return b"[ZValue = %d]" % (int(found[1]) + sections) + line

    return SECTION_HEAD.sub(counted_on, body)
