"""The release of mrcfile that has this interface."""

from __future__ import annotations

__version__ = "1.5.4"
