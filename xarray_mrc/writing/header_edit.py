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
from xarray_mrc.codec.kinds import STACK_SPACE_GROUPS
from xarray_mrc.codec.labels import encode_labels, split_labels
from xarray_mrc.codec.layout import Kind, Layout
from xarray_mrc.dataset.positions import VoxelSize, parse_voxel_size
from xarray_mrc.dataset.to_file import CRYSTAL_SPACE_GROUPS
from xarray_mrc.errors import MrcChangedError, MrcError
from xarray_mrc.reading.file_layout import decode_header, find_layout, named
from xarray_mrc.storage.compressed.encoders import encoder_for
from xarray_mrc.storage.compressed.source import CompressedSource
from xarray_mrc.storage.protocol import Source
from xarray_mrc.storage.sink import BINARY, new_file, write_at
from xarray_mrc.storage.source import local_path, open_head
from xarray_mrc.writing.copy_file import copy_file

__all__ = ["HeaderDifference", "edit_header"]

# What says on purpose how a number is stored.
SAMPLE_FIELDS = ("mode", "imod_stamp", "imod_flags")
ALIASES = ("creatid", "scale_top")
# Of a file that is found so a warning will do: angles that make no cell, an unknown space group, a
# grid point far off, data that do not fill the file.
NEVER_MEANT = ("H10", "H13", "H18", "S03")


@dataclass(frozen=True, slots=True)
class HeaderDifference(Mapping[str, tuple[Any, Any]]):
    """What an edit changes: the old and the new value of each field; false if nothing does.

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
        lines = (f"  {n}: {shown(old)} -> {shown(new)}" for n, (old, new) in self.changes.items())
        return "\n".join([self.path, *(lines if self.changes else ["  no change"])])


def shown(value: Any) -> str:
    """Write a value of a field, of floats the decimals that were meant."""
    if isinstance(value, float):
        return repr(shortest(value))
    if not isinstance(value, tuple):
        return repr(value)
    return f"({', '.join(map(shown, value))}{',' if len(value) == 1 else ''})"


def edit_header(
    path: str | os.PathLike[str],
    *,
    voxel_size: VoxelSize | None = None,
    origin: Sequence[float] | None = None,
    labels: str | Sequence[str] | None = None,
    kind: Kind | None = None,
    dry_run: bool = False,
    fix: bool = False,
    data: bool = False,
    rewrite: bool = False,
    **fields: Any,
) -> HeaderDifference:
    """Change the header of a file: some of its 1024 bytes, in place.

    Parameters
    ----------
    path : str, os.PathLike or file URL
        The file.
    voxel_size : float, sequence of 3 floats or dict, optional
        Voxel size in angstrom, of all axes or of x, y and z; sets the cell lengths.
    origin : sequence of 3 floats, optional
        Place of the first voxel along x, y, z in angstrom, in the sign of the standard.
    labels : str or sequence of str, optional
        The labels, instead of those that are there; a str has one a line.
    kind : {"image", "image_stack", "volume", "volume_stack"}, optional
        What the data are; sets space group and MZ. For a volume stack MZ is that of `fields`, or as
        it is.
    dry_run : bool
        Change nothing, and only give the difference.
    fix : bool
        Put right what the table of checks finds wrong in the header and knows how to mend.
    data : bool
        Whether `fix` reads the data too, all of them, and puts right the statistics.
    rewrite : bool
        Write a compressed file anew, as there is no editing it in place.
    **fields
        Any field by its name in `Header`.

    Returns
    -------
    HeaderDifference
        Old and new values of what changed; prints one field a line.

    Raises
    ------
    ValueError
        A value can't be, or the file would not be readable or be less valid than it is.
    MrcError
        The file can't be read.
    OSError
        It can't be written.

    Examples
    --------
    >>> edit_header("tomo.mrc", voxel_size=1.35, dry_run=True)  # doctest: +SKIP
    """
    if data and not fix:
        raise ValueError("data=True was found without fix=True, which it is for: pass both")
    target = os.path.realpath(local_path(path))
    source, head = open_head(target)
    if isinstance(source, CompressedSource) and not dry_run:
        encoder_for(source.container)  # says so if there is none
        if not rewrite:
            raise ValueError(
                f"{target} is compressed, so that its header can't be changed in place: pass "
                f"rewrite=True to write the whole file anew"
            )
    with named(source):
        old = decode_header(source, head)
        new = old
        if fix:
            new = new.replace(**checks.fixes(examine(source, data, True)))
        new = new.replace(**fields)
        if kind is not None:
            intervals = new.mz if "cella" in fields else old.mz
            new = new.replace(**kind_fields(new, kind, intervals))
        if voxel_size is not None:
            sizes = parse_voxel_size(voxel_size)
            if any(m < 1 for a, m in zip("xyz", new.m, strict=True) if a in sizes):
                raise ValueError(
                    f"the grid intervals are {new.m}, so that there is no place for a voxel size: "
                    f"pass mx=, my= and mz=, usually the numbers of columns, rows and sections"
                )
            lengths = zip("xyz", new.cella, new.m, strict=True)
            new = new.replace(cella=tuple(sizes[a] * m if a in sizes else c for a, c, m in lengths))
        if origin is not None:
            new = new.replace(origin=origin)
            if has_opposite_origin(new):
                new = new.replace(origin=tuple(0 - v for v in new.origin))
            if Geometry.from_header(new).origin_source == "nstart":
                raise ValueError(
                    f"an origin of zero leaves the place to NSTART, which is {new.nstart}: pass "
                    f"nxstart=0, nystart=0 and nzstart=0 as well"
                )
        elif any(new.origin) and has_opposite_origin(new) != has_opposite_origin(old):
            raise ValueError(
                f"the place {old.origin} would be read with the other sign, as IMOD's flag 4 and "
                f"NVERSION say which it has: pass origin= as well"
            )
        if labels is not None:
            texts = split_labels(labels)
            new = new.replace(nlabl=len(texts), label_bytes=encode_labels(texts))
        difference = HeaderDifference(target, dict(changes(old, new, asked=fields)))
        if new == old:
            return difference
        check(source, old, new, asked=fields)
    if not dry_run and isinstance(source, CompressedSource):
        pack_anew(source, target, new)
    elif not dry_run:
        write_in_place(target, old, new)
    return difference


def facts_of(source: Source, header: Header) -> Facts:
    """Gather what the checks of a header look at; MrcError if the data could not be read."""
    return Facts(header, layout_of(source, header), source.size)


def layout_of(source: Source, header: Header) -> Layout:
    """Return how the data lie under a header."""
    return find_layout(source, header, size=source.size, is_local=True).layout


def kind_fields(header: Header, kind: Kind, intervals: int) -> dict[str, Any]:
    """Give the fields that say what the data are; the cell of so many intervals keeps its voxels.

    MZ is the number of sections along Z, which those of the file need not be.
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
                f"a volume stack of {header.nz} sections can't have {depth} in a volume: pass mz="
            )
    x, y, z = header.cella
    return {"ispg": group, "mz": depth, "cella": (x, y, z * depth / intervals if intervals else z)}


def changes(
    old: Header, new: Header, asked: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Give the fields that differ: where several share bytes, the valid and those asked for."""
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
    """Give the bytes of a field, which tell nan from nan."""
    return header.raw[field.offset : field.offset + field.nbytes]


def check(source: Source, old: Header, new: Header, asked: Mapping[str, Any]) -> None:
    """Raise if a new header could not be read, breaks a rule that the old one kept, or turns data.

    Many fields of old files tell whether bytes are signed, none of which was made for it.
    """
    size = source.size
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
        raise type(error)(f"with these values nobody could read it: {error}") from None
    if read.byteorder != new.byteorder:
        raise ValueError("with these values the byte order of the header could not be told")
    was, is_ = before.layout, after.layout
    if was and is_ and was.sample != is_.sample and not any(f in asked for f in SAMPLE_FIELDS):
        raise ValueError(
            f"the data would be read as {is_.dtype} instead of {was.dtype}: pass "
            f"imod_stamp={IMOD_STAMP} and imod_flags=4 (unsigned bytes) or 5 (signed) as well"
        )
    for rule in CHECKS:
        is_hard = rule.severity == "error" or (before.layout and rule.id in NEVER_MEANT)
        found = rule.test(after) if is_hard else None
        if found and not rule.test(before):
            raise ValueError(f"the header would not be valid: {found}; nothing was written")


def write_in_place(target: str, old: Header, new: Header) -> None:
    """Write the bytes from the first to the last that changes."""
    differing = [i for i in range(HEADER_SIZE) if old.raw[i] != new.raw[i]]
    first, last = differing[0], differing[-1]
    descriptor = os.open(target, os.O_RDWR | BINARY)
    try:
        if os.read(descriptor, HEADER_SIZE) != old.raw:
            raise MrcChangedError(f"{target} was written to meanwhile: try again")
        write_at(descriptor, first, new.raw[first : last + 1])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def pack_anew(source: CompressedSource, target: str, new: Header) -> None:
    """Write a compressed file anew with another header, in one pass and bounded memory."""
    encoder = encoder_for(source.container)
    layout = layout_of(source, new)
    with new_file(target, overwrite=True) as sink:
        copy_file(source, layout, sink, encoder, header=new.raw, end=source.size)
        source.verify_trailer(source.size)
