"""What surrounds the package: the recipe of conda-forge, issue forms, the workflow, the engine."""

import re
import tomllib

import pytest
import xarray as xr
import yaml
from files import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
RECIPE = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text("utf-8"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# conda-forge has some distributions under names of its own.
CONDA_NAMES = {
    "dask[array]": "dask-core",
    "isal": "python-isal",
    "zlib-ng": "python-zlib-ng",
}


def as_conda(requirement):
    """Return a requirement of pyproject.toml as the recipe should have it."""
    requirement, _, marker = requirement.partition(";")
    name, floor = re.fullmatch(r"([\w.\[\]-]+)(>=[\d.]+)", requirement.strip()).groups()
    text = f"{CONDA_NAMES.get(name, name)} {floor}"
    version = re.search(r"python_version < '([\d.]+)'", marker)
    return (f'match(python, "<{version[1]}")', text) if version else text


def listed(entries):
    """Return requirements of the recipe; those with a condition as pairs."""
    return {(e["if"], e["then"]) if isinstance(e, dict) else e for e in entries}


def test_recipe_requires_what_the_package_requires():
    project = PROJECT["project"]
    expected = {as_conda(requirement) for requirement in project["dependencies"]}
    assert listed(RECIPE["requirements"]["run"]) == {"python", *expected}
    built = {as_conda(requirement) for requirement in PROJECT["build-system"]["requires"]}
    assert listed(RECIPE["requirements"]["host"]) == {"python", "pip", *built}
    oldest = project["requires-python"].removeprefix(">=")
    assert RECIPE["build"]["skip"] == f'match(python, "<{oldest}")'


def test_recipe_has_what_conda_forge_asks_for():
    assert RECIPE["schema_version"] == 1
    assert RECIPE["package"]["name"] == PROJECT["project"]["name"]
    assert RECIPE["build"]["number"] == 0
    assert re.fullmatch("[0-9a-f]{64}", RECIPE["source"]["sha256"])
    assert RECIPE["source"]["url"].endswith("xarray_mrc-${{ version }}.tar.gz")
    about = RECIPE["about"]
    assert about["license"] == PROJECT["project"]["license"]
    assert (ROOT / about["license_file"]).is_file()
    assert about["homepage"]
    assert about["summary"]
    python_test = RECIPE["tests"][0]["python"]
    assert python_test["pip_check"] is True
    assert RECIPE["extra"]["recipe-maintainers"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms(path):
    form = yaml.safe_load(path.read_text("utf-8"))
    if path.stem == "config":
        return
    assert form.keys() >= {"name", "description", "body"}
    fields = [part for part in form["body"] if part["type"] != "markdown"]
    identifiers = [part["id"] for part in fields]
    assert len(set(identifiers)) == len(identifiers)
    assert all(part["attributes"]["label"] for part in fields)
    text = path.read_text("utf-8")
    assert "Never attach data that is confidential" in text
    assert "xarray-mrc versions" in text
    if path.stem != "question":
        assert "xarray-mrc header FILE" in text


def test_there_are_three_issue_forms():
    assert [path.stem for path in FORMS] == ["bug", "config", "question", "wrong-reading"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_to_commits(path):
    used = re.findall(r"uses: (\S+)(.*)", path.read_text("utf-8"))
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action


def test_engine_describes_itself():
    engine = xr.backends.list_engines()["mrc"]
    assert "MRC/CCP4" in engine.description
    assert engine.url.startswith("https://")
    assert engine.description in repr(engine)


def test_contributing_lists_the_scripts():
    """Each script of ci/ without a suffix is a command."""
    scripts = {f"ci/{path.name}" for path in (ROOT / "ci").iterdir() if not path.suffix}
    scripts = {name for name in scripts if (ROOT / name).is_file()}
    rows = re.findall(r"^\| `(ci/\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.M)
    assert set(rows) == scripts
