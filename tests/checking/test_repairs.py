"""A finding names the call of `edit_header` that corrects it, and no other finding names one."""

from __future__ import annotations

import gzip
import lzma
import re
from ast import literal_eval
from contextlib import suppress

import pytest
from broken_files import DAMAGED_FIELDS, FILES
from files import LABEL, sound
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mrcbytes import lay, put

from xarray_mrc import edit_header, read_header, validate

CALL = re.compile(
    r"; edit_header\(path, ((?:fix=True(?:, data=True)?|kind='\w+')(?:, rewrite=True)?)\) "
    "corrects it$"
)


def arguments_of(call: str) -> dict[str, object]:
    """Return the arguments that a finding names."""
    return {name: literal_eval(value) for name, value in re.findall(r"(\w+)=([\w']+)", call)}


def named_calls(path, data=True) -> dict[str, str | None]:
    """Return the arguments of the call that each finding names, by the id of its check."""
    found = {}
    for finding in validate(path, data=data).findings:
        call = CALL.search(finding.text)
        assert call or "edit_header" not in finding.text
        found[finding.id] = call[1] if call else None
    return found


def try_edit(path, **options) -> None:
    with suppress(ValueError):  # of a file that can't be read, or not be written in its container
        edit_header(path, **options)


def assert_true(path) -> None:
    raw = path.read_bytes()
    rewrite = path.suffix in (".gz", ".xz")
    named = named_calls(path)
    for arguments in {call for call in named.values() if call}:
        edit_header(path, **arguments_of(arguments))
        left = named_calls(path)
        mended = {id_ for id_, call in named.items() if call == arguments}
        if "data=" in arguments:
            mended |= {
                id_
                for id_, call in named.items()
                if call and call.startswith("fix=True") and "data=" not in call
            }
        assert not mended & set(left)
        path.write_bytes(raw)
    # What any of the calls mends is named.
    for options in ({"fix": True}, {"fix": True, "data": True}):
        try_edit(path, **options, rewrite=rewrite)
        mended = set(named) - set(named_calls(path))
        assert mended <= {id_ for id_, call in named.items() if call}
        path.write_bytes(raw)


@pytest.mark.parametrize(
    ("check", "raw", "also"), FILES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_broken_file(tmp_path, check, raw, also):
    path = tmp_path / "a.mrc"
    path.write_bytes(raw)
    assert_true(path)
    header_calls = {id_: call for id_, call in named_calls(path, data=False).items() if call}
    assert header_calls.items() <= named_calls(path).items()


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
@pytest.mark.parametrize("raw", [sound(nversion=0, dmin=-9.0), sound(nsymbt=160, exttyp=b"CCP4")])
def test_compressed_files(tmp_path, suffix, raw):
    path = tmp_path / f"a.mrc{suffix}"
    path.write_bytes({".gz": gzip.compress, ".xz": lzma.compress}[suffix](raw))
    assert_true(path)
    calls = set(named_calls(path).values())
    assert calls == {None} if suffix == ".xz" else None not in calls


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("changes", [{}, {"nversion": 0}, {"dmin": -9.0}])
def test_negative_nsymbt_of_a_compressed_file(tmp_path, changes, data):
    path = tmp_path / "a.mrc.gz"
    path.write_bytes(gzip.compress(sound(nsymbt=-80, **changes)))
    assert named_calls(path, data)["H24"] == "fix=True, rewrite=True"
    assert_true(path)
    edit_header(path, fix=True, rewrite=True)
    assert "H24" not in named_calls(path)


@pytest.mark.parametrize("name", ["a.mrcs", "a.st.gz", "a.ALI"])
def test_a_stack_with_the_header_of_a_volume(tmp_path, name):
    path = tmp_path / name
    raw = sound()
    path.write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    (found,) = validate(path).findings
    assert found.id == "H50"
    assert "kind='image_stack'" in found.text
    assert_true(path)
    assert not validate(tmp_path / name, "mrcfile").findings


def test_a_negative_mz_does_not_change_the_sign_of_the_cell(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(put(lay("int8", "image_stack", "<", labels=(LABEL,)).raw, "<", mz=-3))
    depth = read_header(path).cella[2]
    assert_true(path)
    edit_header(path, kind="image_stack")
    assert (read_header(path).mz, read_header(path).cella[2]) == (1, depth)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    form=st.sampled_from(["int8", "uint8", "int16", "float32", "complex64", "float16"]),
    kind=st.sampled_from(["image", "image_stack", "volume", "volume_stack"]),
    order=st.sampled_from("<>"),
    changes=st.dictionaries(st.sampled_from(sorted(DAMAGED_FIELDS)), st.none(), max_size=4),
    cut=st.sampled_from([0, 0, 0, 1, -1, -1100]),
    packed=st.booleans(),
    draw=st.data(),
)
def test_damaged_headers(tmp_path, form, kind, order, changes, cut, packed, draw):
    changes = {name: draw.draw(DAMAGED_FIELDS[name], label=name) for name in changes}
    raw = put(lay(form, kind, order, labels=(LABEL,)).raw, order, **changes)
    raw = raw + bytes(cut) if cut >= 0 else raw[:cut]
    path = tmp_path / ("a.mrc.gz" if packed else "a.mrc")
    path.write_bytes(gzip.compress(raw) if packed else raw)
    assert_true(path)


def test_only_a_path_can_be_mended():
    assert "edit_header" not in str(validate(sound(nversion=0)))


def test_a_report_in_other_words_names_no_call(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(sound(nversion=0))
    assert "edit_header" not in str(validate(path, "mrcfile"))
    assert str(validate(path)).splitlines()[0] == (
        "W H06 nversion is 0, expected 20140 or 20141; edit_header(path, fix=True) corrects it"
    )
