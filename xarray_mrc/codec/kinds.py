"""Kinds of data: one table of the evidence for an image, an image stack or a volume.

The first row whose test holds decides; its sentence is shown as the attribute `mrc_kind_source`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from xarray_mrc.codec.extended import Extended
from xarray_mrc.codec.geometry import axis_order
from xarray_mrc.codec.header import Header
from xarray_mrc.codec.samples import pixel_counts

__all__ = [
    "EVIDENCE",
    "KIND_WAS_PASSED",
    "STACK_NAMES",
    "STACK_SPACE_GROUPS",
    "Kind",
    "KindEvidence",
    "find_kind",
    "has_stack_name",
    "ignores_sidecar",
]

Kind = Literal["image", "image_stack", "volume", "volume_stack"]

STACK_SPACE_GROUPS = range(401, 631)
CRYSTAL_SPACE_GROUPS = range(2, 231)
# Ends of names in lower case, after the suffix of a container was taken off.
STACK_NAMES = (".mrcs", ".st", ".ali", ".preali", "_ali.mrc", "_preali.mrc")
RECONSTRUCTION_NAMES = (".rec", "_rec.mrc")
MAP_NAMES = (".map", ".ccp4")
IMOD_TILT_TYPES = (1, 2)
# Fields that differ from section to section of a stack. Others (pixel size, voltage) are also
# written for volumes.
SECTION_FIELDS = frozenset(
    (
        "tilt_angle", "beta_tilt", "stage_x", "stage_y", "stage_z", "piece_x", "piece_y", "piece_z",
        "defocus", "dose", "exposure_time", "timestamp",
    )
)  # fmt: skip
KIND_WAS_PASSED = "kind= was passed"


@dataclass(frozen=True, slots=True)
class KindEvidence:
    """Evidence for the kind of a file that its header does not hold; looked up only if it decides.

    Attributes
    ----------
    name : str
        File name, without the suffix of a container: ``"tilts.mrcs"``.
    has_sidecar : callable
        Returns True if a file of tilt angles (.mdoc, .tlt, .rawtlt) lies beside the file.
    read_records : callable
        Returns the decoded extended header, for a file that has one.
    """

    name: str = ""
    has_sidecar: Callable[[], bool] = lambda: False
    read_records: Callable[[], Extended] = lambda: Extended("none")


class KindRow(NamedTuple):
    """One row of the table: if `holds`, the file is of this `kind`, for the reason `sentence`."""

    holds: Callable[[Header, KindEvidence], bool]
    kind: Kind
    sentence: str


def has_stack_name(name: str) -> bool:
    """Return True if only image stacks have such a name.

    Parameters
    ----------
    name : str
        File name, without the suffix of a container.

    Returns
    -------
    bool

    Examples
    --------
    >>> has_stack_name("TS_01_ali.mrc"), has_stack_name("TS_01.mrc")
    (True, False)
    """
    return name.lower().endswith(STACK_NAMES)


def depth_of(header: Header) -> int:
    """Return the number of pixels along Z, whichever of columns, rows and sections that is."""
    return pixel_counts(header)[axis_order(header).index(2)]


def has_whole_volumes(header: Header) -> bool:
    """Return True if the sections make whole volumes of MZ sections."""
    return header.mz > 0 and header.nz % header.mz == 0


def describe_sections(records: Extended) -> bool:
    """Return True if records carry a value for a section; zeros and nan were never filled in."""
    return any(
        np.any(~np.isnat(values) if values.dtype.kind == "M" else np.nan_to_num(values) != 0)
        for values in (field.values for field in records.common if field.name in SECTION_FIELDS)
    )


def fills_cell(header: Header) -> bool:
    """Return True if the cell has as many grid intervals as the data have pixels, or one less.

    Space group 0 means images in the standard, but RELION, Chimera and EMAN write it for volumes
    too, with MZ = NZ. Others count the intervals between the pixels along each axis.
    """
    lengths = [n for _, n in sorted(zip(axis_order(header), pixel_counts(header), strict=True))]
    return header.mz == lengths[2] or all(
        m == n - 1 for m, n in zip(header.m, lengths, strict=True)
    )


EVIDENCE: tuple[KindRow, ...] = (
    KindRow(
        lambda header, _: header.ispg in STACK_SPACE_GROUPS and has_whole_volumes(header),
        "volume_stack",
        "space groups 401 to 630 are volume stacks",
    ),
    KindRow(
        lambda header, _: header.ispg in STACK_SPACE_GROUPS,
        "volume",
        "the space group is that of a volume stack, but NZ is not a multiple of MZ",
    ),
    KindRow(
        lambda header, _: header.ispg in CRYSTAL_SPACE_GROUPS,
        "volume",
        "space groups 2 to 230 are volumes",
    ),
    KindRow(
        lambda _, evidence: has_stack_name(evidence.name),
        "image_stack",
        f"names that end in {', '.join(STACK_NAMES)} are image stacks",
    ),
    KindRow(
        lambda header, _: header.ispg == 0 and depth_of(header) == 1,
        "image",
        "one section of space group 0 is an image",
    ),
    KindRow(lambda header, _: header.ispg == 1, "volume", "space group 1 is a volume"),
    KindRow(
        lambda header, _: header.ispg != 0,
        "volume",
        "an unknown space group that is not 0 is a volume",
    ),
    KindRow(
        lambda _, evidence: evidence.name.lower().endswith(RECONSTRUCTION_NAMES),
        "volume",
        f"names that end in {', '.join(RECONSTRUCTION_NAMES)} are reconstructed volumes",
    ),
    KindRow(
        lambda header, _: header.mz in (0, 1),
        "image_stack",
        "space group 0 with MZ 0 or 1 is an image stack",
    ),
    KindRow(
        lambda _, evidence: evidence.name.lower().endswith(MAP_NAMES),
        "volume",
        f"names that end in {', '.join(MAP_NAMES)} are volumes",
    ),
    KindRow(
        lambda header, evidence: header.nsymbt > 0 and describe_sections(evidence.read_records()),
        "image_stack",
        "records in the extended header describe each section",
    ),
    KindRow(
        lambda _, evidence: evidence.has_sidecar(),
        "image_stack",
        "a sidecar describes each section",
    ),
    KindRow(
        lambda header, _: header.has_imod_stamp and header.idtype in IMOD_TILT_TYPES,
        "image_stack",
        "IMOD's file type is a tilt series",
    ),
    KindRow(
        lambda header, _: fills_cell(header),
        "volume",
        "the cell has as many grid intervals as pixels, or one less along each axis",
    ),
    KindRow(
        lambda _, __: True,
        "image_stack",
        "space group 0 and no evidence of a volume is an image stack",
    ),
)
NO_EVIDENCE = KindEvidence()


def find_kind(header: Header, evidence: KindEvidence = NO_EVIDENCE) -> tuple[Kind, str]:
    """Find whether a file is an image, an image stack, a volume or a volume stack.

    Parameters
    ----------
    header : Header
        The header of the file.
    evidence : KindEvidence, optional
        Evidence beside the header.

    Returns
    -------
    tuple of str
        "image", "image_stack", "volume" or "volume_stack", and the sentence of the row of
        `EVIDENCE` that decided.

    Examples
    --------
    >>> header = Header.blank().replace(nx=4, ny=4, nz=9, mz=9, ispg=0)
    >>> find_kind(header)[0]
    'volume'
    >>> find_kind(header, KindEvidence("particles.mrcs"))[0]
    'image_stack'
    """
    for row in EVIDENCE:
        if row.holds(header, evidence):
            break
    return row.kind, row.sentence


def ignores_sidecar(kind: Kind, sentence: str, name: str) -> bool:
    """Return True if a sidecar that matches a file of this kind deserves a warning.

    IMOD leaves ``X.rec`` beside ``X.tlt`` and ``X.st.mdoc``, so that a reconstruction gets none.

    Parameters
    ----------
    kind, sentence : str
        Kind and reason, as `find_kind` returns them.
    name : str
        File name, without the suffix of a container.

    Returns
    -------
    bool

    Examples
    --------
    >>> ignores_sidecar("volume", "space group 1 is a volume", "tilts.mrc")
    True
    """
    is_reconstruction = name.lower().endswith(RECONSTRUCTION_NAMES)
    return kind == "volume" and sentence != KIND_WAS_PASSED and not is_reconstruction
