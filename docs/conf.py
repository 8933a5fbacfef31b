"""Configuration of the documentation site; ci/docs builds it."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as find_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray_mrc
from xarray_mrc.codec.header_field import Field

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS / "extensions"))
# Cells run the commands of this environment, and make the example files with docs/tomogram.py.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ["PYTHONPATH"] = str(DOCS)

project = "xarray_mrc"
author = "the xarray_mrc developers"
copyright = author
release = version = find_version("xarray-mrc")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_copybutton",
    "codec_tables",
]
exclude_patterns = ["_build"]
templates_path = ["templates"]

html_theme = "furo"
html_title = "xarray_mrc"
html_static_path = ["static"]
html_favicon = "static/favicon.svg"  # browsers ask for one anyway
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False

# Links to headings of a page, such as positions.md#start.
myst_heading_anchors = 3

# Cells of pages run in the build, and an error in one fails it. Notebooks are executed before.
nb_execution_mode = "force"
nb_execution_excludepatterns = ["notebooks/*.ipynb"]
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

numpydoc_show_class_members = False
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections have the types

# Names in single backticks of docstrings are links, and those of this package have to exist. Names
# of other packages cannot be looked up without a network.
default_role = "py:obj"
nitpicky = True
ours = "|".join(["xarray_mrc", *xarray_mrc.__all__, *xarray_mrc.mrcfile.__all__])
nitpick_ignore_regex = [("py:.*", rf"(?!({ours})(\.|$)).*")]


def skip_header_fields(
    app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: object
) -> bool | None:
    """Leave the fields of `Header` to the table of the page on the format."""
    return True if isinstance(obj, Field) else None


def resolve_public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: Element
) -> Element | None:
    """Link `to_mrc` in the docstring of a submodule to `xarray_mrc.to_mrc`."""
    target = node["reftarget"]
    if node.get("refdomain") != "py" or target not in xarray_mrc.__all__:
        return None
    domain = env.domains.python_domain
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, "obj", f"xarray_mrc.{target}", node, contnode
    )


def setup(app: Sphinx) -> None:
    """Connect the functions of this file."""
    app.connect("missing-reference", resolve_public_name)
    app.connect("autodoc-skip-member", skip_header_fields)
