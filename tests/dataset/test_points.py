"""Pointwise indexing of scattered pixels, in every mode, byte order, kind and axis order."""

import itertools
import warnings

import numpy as np
import pytest
from mrcbytes import AXES, FORMS, KINDS, lay

from xarray_mrc import MrcWarning
from xarray_mrc.reading.open_file import open_file


@pytest.mark.parametrize("form", FORMS)
def test_scattered_points(form):
    random = np.random.default_rng(5)
    for order, kind, axes in itertools.product("<>", KINDS, AXES):
        if form == "half_width" and kind == "image" and axes[0] == 3:
            continue  # two pixels along Z are no image
        laid = lay(form, kind, order=order, axes=axes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MrcWarning)
            array = open_file(laid.raw).array
        whole = array[...]
        at = tuple(random.integers(-n, n, (3, 20)) for n in array.shape)
        found = array.points(at)
        assert found.shape == (3, 20)
        assert found.tobytes() == np.ascontiguousarray(whole[at]).tobytes()
    with pytest.raises(IndexError, match="out of bounds for axis 0"):
        array.points([[array.shape[0]], *([0] for _ in array.shape[1:])])
