"""Memory that is used again: never while any array over it lives, never without bound."""

import gc
import pickle
import threading

import numpy as np
import pytest

from xarray_mrc import buffers

MIB = 2**20


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    gc.collect()
    monkeypatch.setattr(buffers, "_free", type(buffers._free)())


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_comes_back_when_the_last_view_is_gone():
    array = buffers.empty((4, MIB), np.dtype("u1"))
    place, view = address(array), array[1:3].reshape(-1)[::2]
    view[...] = 7
    del array
    other = buffers.empty((4, MIB), np.dtype("u1"))
    assert address(other) != place
    other[...] = 1
    assert (view == 7).all()
    del view
    again = buffers.empty((MIB,), np.dtype("f4"))
    assert address(again) == place
    assert again.flags.writeable
    assert again.flags.c_contiguous


def test_a_memoryview_holds_it_too():
    array = buffers.empty((2 * MIB,), np.dtype("u1"))
    place, view = address(array), memoryview(array)
    del array
    assert address(buffers.empty((2 * MIB,), np.dtype("u1"))) != place
    view.release()


def test_another_size_gets_other_memory():
    first = buffers.empty((2 * MIB,), np.dtype("u1"))
    place = address(first)
    del first
    other = buffers.empty((2 * MIB + 1,), np.dtype("u1"))
    assert address(other) != place


@pytest.mark.parametrize("nbytes", [0, 100, MIB - 1, 64 * MIB + 1])
def test_small_and_huge_ones_are_numpys(nbytes):
    array = buffers.empty((nbytes,), np.dtype("u1"))
    assert array.flags.owndata
    del array
    assert not buffers._free


def test_no_more_is_kept_than_the_bound():
    arrays = [buffers.empty((40 * MIB + i,), np.dtype("u1")) for i in range(6)]
    del arrays
    assert sum(block.nbytes for block in buffers._free) <= buffers.MOST_FREE_NBYTES
    assert len(buffers._free) == 3


def test_pickling_takes_the_values():
    array = buffers.empty((MIB,), np.dtype("f4"))
    array[...] = 3
    assert (pickle.loads(pickle.dumps(array)) == 3).all()


def test_threads():
    def work(number):
        for _ in range(200):
            array = buffers.empty((MIB,), np.dtype("u1"))
            array[...] = number
            if not (array == number).all():
                wrong.append(number)

    wrong = []
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
