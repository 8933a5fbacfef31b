"""The file that most tests of the engine open."""

from __future__ import annotations

import pytest
from opened import save


@pytest.fixture
def path(tmp_path):
    return save(tmp_path / "volume.mrc")
