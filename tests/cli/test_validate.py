"""``xarray-mrc validate``: verdicts, exit statuses, and the text of mrcfile's own program."""

import pytest
from broken_files import FILES as BROKEN
from command import run
from files import FILES, sound
from test_header import program_of_mrcfile
