"""The main header: every byte kept, every field where the format has it, an immutable value."""

from __future__ import annotations

import copy
import io
import math
import pickle
import struct
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mrcbytes import FIELDS, IMOD, ORDERS, get, lay, put
from mrcbytes import header as lay_header

from xarray_mrc import MrcError, MrcFormatError, MrcHeaderError, MrcTruncatedError, read_header
from xarray_mrc.codec.header import Header, layout_bytes

UNTIMED = settings(deadline=None)
RAW = st.binary(min_size=1024, max_size=1024)
ORDER = st.sampled_from(ORDERS)
# Two names for the same bytes, where two formats give them two meanings.
TWICE = {frozenset({"lskflg", "creatid"}), frozenset({"scale_top", "idtype"})} | {
    frozenset({"skew_matrix", name}) for name in ("exttyp", "nversion", "nint", "nreal")
}
COUNTS = {name: len(struct.unpack("<" + code, bytes(struct.calcsize("<" + code))))
          for name, (_, code) in FIELDS.items()}  # fmt: skip


def bits(value: Any) -> Any:
    """Give numbers as what they look like in 32 bits, so that nan equals itself."""
    if isinstance(value, tuple):
        return tuple(map(bits, value))
    return struct.pack("<d", value) if isinstance(value, float) else value


# The table ---------------------------------------------------------------------------------------


def test_table_of_fields() -> None:
    found = {field.name: (field.offset, field.code) for field in Header.fields()}
    assert found == FIELDS
    for field in Header.fields():
        assert field.nbytes == struct.calcsize("<" + field.code)
        assert field.count == COUNTS[field.name]
        assert field.doc
        assert field.doc == field.doc.strip()
        assert getattr(Header, field.name) is field


def test_fields_are_in_order_and_do_not_overlap() -> None:
    fields = list(Header.fields())
    assert [field.offset for field in fields] == sorted(field.offset for field in fields)
    overlapping = {
        frozenset({a.name, b.name})
        for a, b in combinations(fields, 2)
        if a.offset < b.offset + b.nbytes and b.offset < a.offset + a.nbytes
    }
    assert overlapping == TWICE
    assert all(field.offset >= 0 and field.offset + field.nbytes <= 1024 for field in fields)


@UNTIMED
@given(RAW, ORDER)
def test_every_field_is_read_from_its_place(raw: bytes, order: Any) -> None:
    header = Header(raw, order)
    for name in FIELDS:
        assert bits(getattr(header, name)) == bits(get(raw, order, name))
    assert header.n == (header.nx, header.ny, header.nz)
    assert header.nstart == (header.nxstart, header.nystart, header.nzstart)
    assert header.m == (header.mx, header.my, header.mz)
    assert header.mapcrs == (header.mapc, header.mapr, header.maps)


def test_derived_values() -> None:
    for order in ORDERS:
        raw = lay_header(order, (b"one", b"two"), imod_stamp=IMOD, cella=(4.4, 0.0, -1.0))
        header = Header(raw, order)
        assert header.has_imod_stamp
        assert header.is_standard_version
        assert header.labels == ("one", "two")
        assert header.voxel_size[0] == 1.1
        assert all(math.isnan(size) for size in header.voxel_size[1:])
        assert not header.replace(imod_stamp=0).has_imod_stamp
    for nversion, standard in ((0, False), (20139, False), (20140, True), (20141, True),
                               (20251, True), (30000, False), (-20140, False)):  # fmt: skip
        assert header.replace(nversion=nversion).is_standard_version is standard


# All bytes are kept ------------------------------------------------------------------------------


@UNTIMED
@given(RAW, ORDER)
def test_bytes_survive(raw: bytes, order: Any) -> None:
    header = Header(raw, order)
    assert header.encode() == raw
    assert header.replace().encode() == raw
    assert header.byteorder == header.replace(nx=1).byteorder == order
    # Whatever the bytes are, the header can be looked at.
    assert repr(header)
    assert str(header)
    assert header._repr_html_()


@UNTIMED
@given(RAW, ORDER, st.integers(0, 2000))
def test_bytes_survive_decoding(raw: bytes, order: Any, more: int) -> None:
    raw = put(raw, order, nx=7, ny=5, nz=3, mode=2, mapc=1, mapr=3, maps=2, map_id=b"MAP ")
    header = Header.decode(raw + bytes(more))
    assert header.byteorder == order
    assert header.encode() == raw
    assert Header.decode(memoryview(raw)) == header


@UNTIMED
@given(RAW, st.none() | st.integers(0, 2**40))
def test_any_bytes_are_a_header_or_an_error(raw: bytes, size: int | None) -> None:
    try:
        header = Header.decode(raw, size)
    except MrcError:
        return
    assert header.encode() == raw
    assert min(header.n) > 0


def values_of(code: str) -> st.SearchStrategy[Any]:
    if code.endswith("s"):
        size = int(code[:-1])
        return st.binary(min_size=size, max_size=size)
    kind, count = code[-1], int(code[:-1] or 1)
    if kind == "f":
        one: st.SearchStrategy[Any] = st.floats(width=32)
    else:
        half = 2 ** (8 * struct.calcsize("<" + kind) - 1)
        one = st.integers(-half, half - 1)
    return one if count == 1 else st.tuples(*[one] * count)


CHANGES = st.sampled_from(sorted(FIELDS)).flatmap(
    lambda name: st.tuples(st.just(name), values_of(FIELDS[name][1]))
)


@UNTIMED
@given(RAW, ORDER, CHANGES)
def test_replacing_a_field_touches_its_bytes_only(
    raw: bytes, order: Any, change: tuple[str, Any]
) -> None:
    name, value = change
    before = Header(raw, order)
    after = before.replace(**{name: value})
    offset, code = FIELDS[name]
    end = offset + struct.calcsize("<" + code)
    assert after.raw[:offset] == raw[:offset]
    assert after.raw[end:] == raw[end:]
    assert after.raw == put(raw, order, **{name: value})
    assert before.raw == raw
    assert after.byteorder == order


def test_replacing_many_fields() -> None:
    header = Header.blank(">").replace(nx=4, cella=(1.0, 2.0, 3.0), exttyp=b"SERI")
    assert (header.nx, header.cella, header.exttyp) == (4, (1.0, 2.0, 3.0), b"SERI")
    assert header == Header(put(Header.blank(">").raw, ">", nx=4, cella=(1.0, 2.0, 3.0),
                                exttyp=b"SERI"), ">")  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [
        {"nx": 2**31},
        {"nx": -(2**31) - 1},
        {"nx": 1.5},
        {"nx": "4"},
        {"nx": None},
        {"nx": (1, 2)},
        {"creatid": 40000},
        {"rms": 1e39},
        {"rms": "1"},
        {"cella": (1.0, 2.0)},
        {"cella": (1.0, 2.0, 3.0, 4.0)},
        {"cella": 5.0},
        {"cella": (1.0, 2.0, None)},
        {"origin": (1e39, 0.0, 0.0)},
        {"exttyp": "SERI"},
        {"map_id": 5},
    ],
    ids=str,
)
def test_values_that_do_not_fit(values: dict[str, Any]) -> None:
    name, value = next(iter(values.items()))
    size = struct.calcsize("<" + FIELDS[name][1])
    with pytest.raises(ValueError) as caught:
        Header.blank().replace(**values)
    assert f"{name}={value!r} does not fit the header's {size} bytes" in str(caught.value)


@pytest.mark.parametrize("name", ["exttyp", "label_bytes"])
def test_text_that_does_not_fit(name: str) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Header.blank().replace(**{name: b"a" * 801})


@pytest.mark.parametrize("name", ["voxel_size", "raw", "n", "labels", "byteorder", "nonsense"])
def test_names_that_are_no_fields(name: str) -> None:
    with pytest.raises(TypeError, match=rf"'{name}' is no field .* the fields are nx, ny, nz"):
        Header.blank().replace(**{name: 1})


# A value -----------------------------------------------------------------------------------------


@UNTIMED
@given(RAW, ORDER)
def test_copies_are_equal(raw: bytes, order: Any) -> None:
    header = Header(raw, order)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        other = pickle.loads(pickle.dumps(header, protocol))
        assert other == header
        assert hash(other) == hash(header)
        assert other.byteorder == order
    assert copy.copy(header) == header
    assert copy.deepcopy(header) == header
    assert len({header, Header(raw, order), copy.copy(header)}) == 1


def test_other_headers_are_not_equal() -> None:
    header = Header.blank()
    assert header != header.replace(nlabl=1)
    assert header != Header(header.raw, ">")
    assert header != header.raw
    assert header != "header"
    assert len({header, Header(header.raw, ">"), header.replace(nx=1)}) == 3


@pytest.mark.parametrize("name", [*FIELDS, "raw", "byteorder", "n", "labels", "nonsense"])
def test_nothing_can_be_changed(name: str) -> None:
    header = Header.blank()
    with pytest.raises(AttributeError, match=rf"can't be changed; use header.replace\({name}="):
        setattr(header, name, 1)
    with pytest.raises(AttributeError, match="can't be changed"):
        delattr(header, name)
    assert header == Header.blank()
    assert not hasattr(header, "__dict__")


def test_bytes_that_are_changed_later_are_not_followed() -> None:
    buffer = bytearray(lay_header())
    header, decoded = Header(buffer, "<"), Header.decode(buffer)
    buffer[:4] = b"\xff" * 4
    assert header.nx == decoded.nx == 4
    assert isinstance(header.raw, bytes)


def test_blank() -> None:
    for order in ORDERS:
        header = Header.blank(order)
        assert header.byteorder == order
        assert header.map_id == b"MAP "
        assert header.machst == (b"\x44\x44\0\0" if order == "<" else b"\x11\x11\0\0")
        assert (header.nversion, header.mapcrs, header.ispg) == (20141, (1, 2, 3), 1)
        assert header.cellb == (90.0, 90.0, 90.0)
        # The signs of statistics that are not known.
        assert header.dmax < header.dmin
        assert header.dmean < min(header.dmin, header.dmax)
        assert header.rms < 0
        rest = put(header.raw, order, map_id=bytes(4), machst=bytes(4), nversion=0, mapc=0, mapr=0,
                   maps=0, ispg=0, cellb=(0.0,) * 3, dmin=0.0, dmax=0.0, dmean=0.0,
                   rms=0.0)  # fmt: skip
        assert rest == bytes(1024)


# Printed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_printed(order: str) -> None:
    raw = lay_header(order, (b"<b>bold</b> & more",), nx=321, exttyp=b"FEI1", rms=0.125,
                     cella=(433.35, 4.05, 2.7))  # fmt: skip
    header = Header(raw, order)
    lines = {line.split("  ")[0]: line for line in str(header).split("\n")}
    assert ("little" if order == "<" else "big") in lines["byte order"]
    assert "321" in lines["nx"]
    assert "columns" in lines["nx"]
    assert "433.35, 4.05, 2.7 angstrom" in lines["cella"]
    assert "0.125" in lines["rms"]
    assert "'FEI1'" in lines["exttyp"]
    assert ("44 44 00 00" if order == "<" else "11 11 00 00") in lines["machst"]
    assert "108.3375, 1.35, 1.35 angstrom" in lines["voxel size"]
    assert lines["label 1"].endswith("<b>bold</b> & more")
    assert "label_bytes" not in lines
    hidden = {"label_bytes", "skew_matrix", "skew_translation"}
    hidden |= {"imod_stamp", "imod_flags", "idtype", "tilt_angles"}
    assert set(lines) >= set(FIELDS) - hidden
    assert "imod_flags" not in lines  # without IMOD's stamp there are none
    assert all(line == line.rstrip() for line in lines.values())
    assert "imod_flags" in str(header.replace(imod_stamp=IMOD))

    table = header._repr_html_()
    assert table.startswith("<table>")
    assert table.endswith("</table>")
    assert table.count("<tr>") == table.count("</tr>") == len(lines)
    assert "<b>" not in table
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; more" in table

    assert repr(header) == f"<Header 321 x 3 x 2, mode 2, {order!r}>"


def test_unknown_voxel_size_has_no_unit() -> None:
    text = str(Header.blank())
    line = next(line for line in text.split("\n") if line.startswith("voxel size"))
    assert "nan, nan, nan" in line
    assert "angstrom" not in line


# Read --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_read_header(tmp_path: Path, order: str) -> None:
    laid = lay("int16", order=order, extended=bytes(80))
    path = tmp_path / "a.mrc"
    path.write_bytes(laid.raw)
    expected = Header(laid.head, order)
    assert read_header(path) == expected
    assert read_header(str(path)) == expected
    assert read_header(path.as_uri()) == expected
    assert read_header(laid.raw) == expected
    assert read_header(bytearray(laid.raw)) == expected
    assert read_header(memoryview(laid.raw)) == expected
    assert read_header(io.BytesIO(laid.raw)) == expected
    with path.open("rb") as file:
        assert read_header(file) == expected
        assert not file.closed
    # The data need not be there.
    path.write_bytes(laid.head)
    assert read_header(path) == expected


def test_read_header_of_what_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "none.mrc")
    path = tmp_path / "short.mrc"
    for size in (0, 3, 1023):
        path.write_bytes(lay_header()[:size])
        message = rf"short\.mrc: the file has {size} bytes, expected a header of 1024"
        with pytest.raises(MrcTruncatedError, match=message):
            read_header(path)
    path.write_bytes(b"no header.\x80" * 200)
    message = r"short\.mrc: this is not an MRC file: there is no 'MAP ' at byte 208 \(found b'.{4}"
    with pytest.raises(MrcFormatError, match=message):
        read_header(path)
    with pytest.raises(TypeError, match="expected a path"):
        read_header(5)


@pytest.mark.parametrize("order", ORDERS)
def test_errors_name_field_and_value(order: str) -> None:
    with pytest.raises(MrcTruncatedError, match="7 bytes, expected a header of 1024"):
        Header(bytes(7), order)
    with pytest.raises(MrcTruncatedError, match="1025 bytes, expected a header of 1024"):
        Header(bytes(1025), order)
    with pytest.raises(MrcTruncatedError, match="1023 bytes"):
        Header.decode(bytes(1023))
    with pytest.raises(MrcHeaderError, match="ny is -3, expected 1 or more"):
        Header.decode(lay_header(order, ny=-3))
    message = r"size \(.*\), mode .*, axes \(.*\); big endian: size"
    with pytest.raises(MrcFormatError, match=message):
        Header.decode(bytes(range(128)) * 8)


# Bytes that the data depend on -------------------------------------------------------------------


def test_bytes_that_fix_the_layout() -> None:
    header = Header.blank()
    fixed = {"nx", "ny", "nz", "mode", "mapc", "mapr", "maps", "nsymbt", "imod_stamp", "imod_flags"}
    for name, (_, code) in FIELDS.items():
        size = struct.calcsize("<" + code)
        other: Any = b"\x01" * size if code.endswith("s") else 7
        if COUNTS[name] > 1:
            other = (7.0,) * COUNTS[name]
        changed = layout_bytes(header.replace(**{name: other}).raw) != layout_bytes(header.raw)
        assert changed == (name in fixed), name
    assert layout_bytes(b"") == b""
