"""The release of mrcfile whose interface is offered, for programs that ask for it."""

from __future__ import annotations

__version__ = "1.5.4"
