"""The directive ``codec-table``: a table of the codec as a table of the site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from tables import TABLES, as_markdown

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class CodecTable(SphinxDirective):
    """A table of `TABLES`, by its name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        if self.arguments[0] not in TABLES:
            raise self.error(f"no table {self.arguments[0]!r}, expected one of {sorted(TABLES)}")
        return self.parse_text_to_nodes(as_markdown(TABLES[self.arguments[0]]()))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("codec-table", CodecTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
