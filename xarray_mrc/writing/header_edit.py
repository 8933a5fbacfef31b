"""`edit_header`: change fields of a file's header in place, and touch nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from xarray_mrc.checking.facts import examine
from xarray_mrc.codec import checks
from xarray_mrc.codec.checks import CHECKS, Facts
from xarray_mrc.codec.decimals import shortest
from xarray_mrc.codec.geometry import Geometry, axis_order, has_opposite_origin
from xarray_mrc.codec.header import (
    HEADER_SIZE,
    IMOD_FIELDS,
    IMOD_STAMP,
    SKEW_FIELDS,
    Field,
    Header,
)
from xarray_mrc.codec.kinds import CRYSTAL_SPACE_GROUPS, STACK_SPACE_GROUPS
from xarray_mrc.codec.labels import encode_labels, split_labels
from xarray_mrc.codec.layout import Kind, Layout
from xarray_mrc.dataset.axis_positions import VoxelSize, parse_voxel_size
from xarray_mrc.errors import MrcChangedError, MrcError, warn
from xarray_mrc.reading.file_layout import find_layout
from xarray_mrc.reading.header_reading import decode_header, named
from xarray_mrc.storage.compressed.encoders import encoder_for
from xarray_mrc.storage.compressed.source import CompressedSource
from xarray_mrc.storage.local_sink import BINARY, new_file, write_at
from xarray_mrc.storage.protocol import Head, Source, StreamSource, full_size
from xarray_mrc.storage.source import local_path, open_head
from xarray_mrc.writing.copy_file import copy_file
from xarray_mrc.writing.tilt_angle_edit import TiltAngles, plan_tilt_angles

__all__ = ["HeaderDifference", "edit_header"]

# An edit of these fields is meant to change how a pixel is read.
SAMPLE_FIELDS = ("mode", "imod_stamp", "imod_flags")
MAX_SHOWN_VALUES = 10  # of a tuple; labels are at most ten
ALIASES = ("creatid", "scale_top")  # other names of bytes that already have one


@dataclass(frozen=True, slots=True)
class HeaderDifference(Mapping[str, tuple[Any, Any]]):
    """The old and the new value of each field that an edit changes; false if there is none.

    Attributes
    ----------
    path : str
        The file.
    changes : dict
        Old and new value by name of the field; ``labels`` for the text of the labels.

    Examples
    --------
    >>> print(HeaderDifference("a.mrc", {"ispg": (1, 0), "rms": (-1.0, 43.20000076293945)}))
    a.mrc
      ispg: 1 -> 0
      rms: -1.0 -> 43.2
    """

    path: str
    changes: dict[str, tuple[Any, Any]]

    def __getitem__(self, name: str) -> tuple[Any, Any]:
        return self.changes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    def __str__(self) -> str:
        lines = [
            f"  {name}: {format_value(old)} -> {format_value(new)}"
            for name, (old, new) in self.changes.items()
        ]
        return "\n".join([self.path, *(lines or ["  no change"])])


def format_value(value: Any) -> str:
    """Return a value of a field as text: a float as the shortest decimal with that float32."""
    if isinstance(value, float):
        return repr(shortest(value))
    if not isinstance(value, tuple):
        return repr(value)
    if len(value) > MAX_SHOWN_VALUES:
        return f"{format_value(value[0])} ... {format_value(value[-1])} ({len(value)} values)"
    return f"({', '.join(map(format_value, value))}{',' if len(value) == 1 else ''})"


def edit_header(
    path: str | os.PathLike[str],
    *,
    voxel_size: VoxelSize | None = None,
    origin: Sequence[float] | None = None,
    labels: str | Sequence[str] | None = None,
    kind: Kind | None = None,
    tilt_angle: TiltAngles | None = None,
    dry_run: bool = False,
    fix: bool = False,
    data: bool = False,
    rewrite: bool = False,
    **fields: Any,
) -> HeaderDifference:
    """Change fields of a file's header, in place.

    Parameters
    ----------
    path : str, os.PathLike or file URL
        The file.
    voxel_size : float, sequence of 3 floats or dict, optional
        Voxel size in angstrom, of all axes or along x, y and z; sets the cell lengths.
    origin : sequence of 3 floats, optional
        Position of the first voxel along x, y, z in angstrom, in the sign of the standard.
    labels : str or sequence of str, optional
        Labels instead of the present ones; a str has one a line.
    kind : {"image", "image_stack", "volume", "volume_stack"}, optional
        Kind of the data; sets space group and MZ. For a volume stack MZ is that of `fields`, or
        unchanged.
    tilt_angle : sequence of float, str or os.PathLike, optional
        Tilt angle in degrees of each image, or a file with one a line (.tlt, .rawtlt) or a .mdoc.
        It replaces those of the section records. A file without records gets SerialEM's, which
        round to 0.01 degree, and is written anew if it has no room for them (`rewrite`).
    dry_run : bool
        Return the difference, but change nothing.
    fix : bool
        Correct the findings of `xarray_mrc.validate` that the header alone can correct.
    data : bool
        Whether `fix` also reads all data, and corrects the statistics.
    rewrite : bool
        Write a file anew that cannot be edited in place: a compressed one, or one without room for
        tilt angles.
    **fields
        Any field by its name in `Header`.

    Returns
    -------
    HeaderDifference
        Old and new value of each changed field; prints one field a line.

    Raises
    ------
    ValueError
        A value is not possible, or the file would be unreadable or less valid than before.
    MrcError
        The file cannot be read.
    OSError
        The file cannot be written.

    Warns
    -----
    MrcWarning
        Once, if tilt angles are rounded, or a file beside this one has others.

    Examples
    --------
    >>> edit_header("tomo.mrc", voxel_size=1.35, dry_run=True)  # doctest: +SKIP
    """
    if data and not fix:
        raise ValueError("data=True was passed without fix=True, which it is for: pass both")
    target = os.path.realpath(local_path(path))
    head = open_head(target)
    source = head.source
    if isinstance(source, CompressedSource) and not dry_run:
        check_rewritable(source, target, rewrite=rewrite)
    with named(source):
        old = decode_header(head)
        new = old
        if fix:
            new = new.replace(**checks.fixes(examine(source, data)))
        new = new.replace(**fields)
        if kind is not None:
            intervals = new.mz if "cella" in fields else old.mz
            new = new.replace(**kind_fields(new, kind, intervals))
        if voxel_size is not None:
            new = with_voxel_size(new, voxel_size)
        if origin is not None:
            new = with_origin(new, origin)
        else:
            check_origin_sign(old, new)
        if labels is not None:
            texts = split_labels(labels)
            new = new.replace(nlabl=len(texts), label_bytes=encode_labels(texts))
        tilts = None if tilt_angle is None else plan_tilt_angles(head, new, tilt_angle)
        whole = new if tilts is None else tilts.header
        found = dict(changes(old, whole, asked=fields))
        if tilts is not None and tilts.old != tilts.new:
            found["tilt_angle"] = (tilts.old, tilts.new)
        difference = HeaderDifference(target, found)
        if not difference and new == old:
            return difference
        if new != old:
            check_edit(source, old, new, asked=fields)
        start = whole.raw + (b"" if tilts is None else tilts.extended)
        moves_data = tilts is not None and tilts.moves_data
    if not dry_run and moves_data and not rewrite:
        raise ValueError(
            f"{target} has no room for tilt angles before its data: pass rewrite=True to write the "
            f"whole file anew"
        )
    if tilts is not None and tilts.notes:
        warn(f"{target}: {'; '.join(tilts.notes)}")
    if not dry_run and (moves_data or isinstance(source, CompressedSource)):
        rewrite_file(source, layout_of(source, new), target, start)
    elif not dry_run:
        write_in_place(target, old, start)
    return difference


def check_rewritable(source: CompressedSource, target: str, *, rewrite: bool) -> None:
    """Raise ValueError if a compressed file cannot, or should not, be written anew."""
    encoder_for(source.container)  # raises if there is none for this container
    if not rewrite:
        raise ValueError(
            f"{target} is compressed, so that its header cannot be changed in place: pass "
            f"rewrite=True to write the whole file anew"
        )


def with_voxel_size(header: Header, voxel_size: VoxelSize) -> Header:
    """Return a header with the cell lengths of a voxel size."""
    sizes = parse_voxel_size(voxel_size)
    if any(m < 1 for axis, m in zip("xyz", header.m, strict=True) if axis in sizes):
        raise ValueError(
            f"the grid intervals are {header.m}, so that the header cannot state a voxel size: "
            f"pass mx=, my= and mz=, usually the numbers of columns, rows and sections"
        )
    lengths = zip("xyz", header.cella, header.m, strict=True)
    cella = tuple(sizes[axis] * m if axis in sizes else length for axis, length, m in lengths)
    return header.replace(cella=cella)


def with_origin(header: Header, origin: Sequence[float]) -> Header:
    """Return a header with an origin in the sign of the standard; IMOD's flags may invert it."""
    new = header.replace(origin=origin)
    if has_opposite_origin(new):
        new = new.replace(origin=tuple(0 - v for v in new.origin))
    if Geometry.from_header(new).origin_source == "nstart":
        raise ValueError(
            f"an origin of zero means that NSTART counts, which is {new.nstart}: pass nxstart=0, "
            f"nystart=0 and nzstart=0 as well"
        )
    return new


def check_origin_sign(old: Header, new: Header) -> None:
    """Raise ValueError if an edit of other fields would invert the sign of ORIGIN."""
    if any(new.origin) and has_opposite_origin(new) != has_opposite_origin(old):
        raise ValueError(
            f"the origin {old.origin} would be read with the other sign, which IMOD's flag 4 and "
            f"NVERSION determine: pass origin= as well"
        )


def facts_of(source: Source, header: Header) -> Facts:
    """Return the facts for the checks of a header; MrcError if its data would be unreadable."""
    return Facts(header, layout_of(source, header), full_size(source))


def layout_of(source: Source, header: Header) -> Layout:
    """Return how the data lie under a header."""
    return find_layout(Head(source), header, size=full_size(source)).layout


def kind_fields(header: Header, kind: Kind, intervals: int) -> dict[str, Any]:
    """Return the fields of a kind; the voxel size of a cell of `intervals` along z is kept.

    MZ counts sections along Z, which need not be the sections of the file.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind={kind!r}, expected one of {', '.join(get_args(Kind))}")
    if kind == "image" and header.nz != 1:
        raise ValueError(f"kind='image' has one section, but there are {header.nz}")
    if kind in ("image", "image_stack"):
        group, depth = 0, 1
    elif kind == "volume":
        group = header.ispg if header.ispg in CRYSTAL_SPACE_GROUPS else 1
        depth = header.n[axis_order(header).index(2)]
    else:
        stack = header.ispg in STACK_SPACE_GROUPS
        group, depth = header.ispg if stack else STACK_SPACE_GROUPS[0], header.mz
        if depth < 1 or header.nz % depth:
            raise ValueError(
                f"kind='volume_stack' needs an MZ that divides NZ ({header.nz}), but it is "
                f"{depth}: pass mz="
            )
    x, y, z = header.cella
    return {
        "ispg": group,
        "mz": depth,
        "cella": (x, y, z * depth / intervals if intervals > 0 else z),
    }


def changes(
    old: Header, new: Header, asked: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield the fields that differ; of those that share bytes, the valid and the named ones."""
    if old.labels != new.labels:
        yield "labels", (old.labels, new.labels)
    hidden = {"label_bytes"} if old.labels != new.labels else set()
    for field in Header.fields():
        name = field.name
        skew = name in SKEW_FIELDS and 1 not in (old.lskflg, new.lskflg)
        imod = name in IMOD_FIELDS and not (old.has_imod_stamp or new.has_imod_stamp)
        before, after = getattr(old, name), getattr(new, name)
        other = (skew or imod or name in ALIASES) and name not in asked
        if not (other or name in hidden) and bits(field, old) != bits(field, new):
            yield name, (before, after)


def bits(field: Field[Any], header: Header) -> bytes:
    """Return the bytes of a field, in which one nan equals another."""
    return header.raw[field.offset : field.offset + field.nbytes]


def check_edit(source: Source, old: Header, new: Header, asked: Mapping[str, Any]) -> None:
    """Raise if a new header is unreadable, breaks a rule that the old one kept, or changes values.

    The values of bytes change with their sign, which programs conclude from many fields.
    """
    size = full_size(source)
    try:
        before = facts_of(source, old)
    except MrcError:
        before = Facts(old, size=size)
    try:
        read = Header.decode(new.raw, size)
        after = facts_of(source, new)
    except MrcError as error:
        if before.layout is None:
            raise
        raise type(error)(f"the edited file would be unreadable: {error}") from None
    if read.byteorder != new.byteorder:
        raise ValueError("the byte order of the edited header could not be recognised")
    was, is_ = before.layout, after.layout
    if was and is_ and was.sample != is_.sample and not any(f in asked for f in SAMPLE_FIELDS):
        raise ValueError(
            f"the data would be read as {is_.dtype} instead of {was.dtype}: pass "
            f"imod_stamp={IMOD_STAMP} and imod_flags=4 (unsigned bytes) or 5 (signed) as well"
        )
    for rule in CHECKS:
        refuses = rule.severity == "error" or (before.layout and rule.refuses_edit)
        found = rule.test(after) if refuses else None
        if found and not rule.test(before):
            raise ValueError(f"the header would not be valid: {found}; nothing was written")


def write_in_place(target: str, old: Header, start: bytes) -> None:
    """Write those of the first bytes that change, from the first of them to the last."""
    descriptor = os.open(target, os.O_RDWR | BINARY)
    try:
        before = os.read(descriptor, len(start))
        if before[:HEADER_SIZE] != old.raw or len(before) != len(start):
            raise MrcChangedError(f"{target} was changed by another program meanwhile: try again")
        differing = [i for i in range(len(start)) if before[i] != start[i]]
        first, last = differing[0], differing[-1]
        write_at(descriptor, first, start[first : last + 1])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rewrite_file(source: Source, layout: Layout, target: str, start: bytes) -> None:
    """Write a file with other first bytes anew, in one pass and bounded memory."""
    encoder = encoder_for(source.container) if isinstance(source, CompressedSource) else None
    end = full_size(source)
    with new_file(target, overwrite=True) as replacement:
        receipt = copy_file(source, layout, replacement.sink, encoder, header=start, end=end)
        if isinstance(source, StreamSource):
            source.verify_trailer(end)
        replacement.finish(receipts=[receipt])
