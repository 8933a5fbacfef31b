"""The page on the command line: its table of JSON is what the commands print."""

import re

import pytest
from command import run
from files import sound
from snippets import DOCS

from xarray_mrc.cli.program import COMMANDS
from xarray_mrc.codec.header import Header

PAGE = (DOCS / "command-line.md").read_text("utf-8")
COMMANDS_WITH_JSON = {
    "header": ["--ext"],
    "validate": [],
    "stats": [],
    "edit": ["--label", "new", "--dry-run"],
    "convert": [],
}


def documented():
    """Return the keys of each command in the table of the page."""
    table = PAGE.split("| command | key | value |\n|---|---|---|\n")[1].split("\n\n")[0]
    keys, command = {}, ""
    for row in table.splitlines():
        first, second, _ = (cell.strip() for cell in re.split(r" ?\| ?", row)[1:4])
        command = first.strip("`") or command
        keys.setdefault(command, set()).update(re.findall(r"`(\w+)`", second))
    return keys


@pytest.mark.parametrize("command", COMMANDS_WITH_JSON)
def test_the_keys_of_json(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mrc").write_bytes(sound(nlabl=4))
    target = ["b.mrc"] if command == "convert" else []
    (found,) = run(command, *COMMANDS_WITH_JSON[command], "--json", "a.mrc", *target).json
    assert set(found) == documented()[command]


def test_every_command_with_json_is_in_the_table():
    with_json = {name for name in COMMANDS if "--json" in run(name, "--help").out}
    assert with_json == documented().keys() | {"versions"}


def test_the_keys_of_the_table_of_headers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mrc").write_bytes(sound())
    (found,) = run("index", "--json", "a.mrc").json
    keys = documented()["index"]
    assert keys <= set(found)
    fields = tuple(field.name for field in Header.fields())
    assert all(key.startswith((*fields, "labels")) for key in set(found) - keys)


def test_every_command_is_on_the_page():
    for name in COMMANDS:
        assert f"xarray-mrc {name}" in PAGE or f"  {name}  " in PAGE or f"`{name}" in PAGE


def test_the_options_of_edit_are_on_the_page():
    options = set(re.findall(r"--[a-z-]+", run("edit", "--help").out.split("Examples")[0]))
    assert options - {"--help", "--json"} == set(re.findall(r"--[a-z-]+", PAGE)) & options - {
        "--help", "--json",
    }  # fmt: skip
