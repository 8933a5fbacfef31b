"""``python -m xarray_mrc`` is the command ``xarray-mrc``."""

import sys

from xarray_mrc.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
