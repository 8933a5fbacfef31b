"""Memory that is used again: never while any array over it lives, never without bound."""

import gc
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from xarray_mrc.reading import buffers

MIB = 2**20


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    gc.collect()
    monkeypatch.setattr(buffers, "_free", type(buffers._free)())
    monkeypatch.setattr(buffers, "MIN_NBYTES", MIB)


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


def test_blocks_that_the_allocator_keeps_are_numpys(monkeypatch):
    monkeypatch.undo()
    assert buffers.empty((32 * MIB - 1,), np.dtype("u1")).flags.owndata
    assert not buffers.empty((32 * MIB,), np.dtype("u1")).flags.owndata


def test_no_more_is_kept_than_the_bound():
    arrays = [buffers.empty((40 * MIB + i,), np.dtype("u1")) for i in range(6)]
    del arrays
    assert sum(block.nbytes for block in buffers._free.values()) <= buffers.MAX_FREE_NBYTES
    assert len(buffers._free) == buffers.MAX_FREE_NBYTES // (40 * MIB) > 0


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


def bytes_of(mib):
    return buffers.empty((mib * MIB,), np.dtype("u1"))


def test_a_block_comes_back_at_any_step_of_a_search():
    def count_steps(last):
        """Get an array, and let another go just before a step of the search for its block."""
        buffers._free.clear()
        late = [bytes_of(35)]
        free = [bytes_of(size) for size in (10, 35, 40, 40)]
        free.clear()
        steps = 0

        def trace(frame, event, _):
            nonlocal steps
            if frame.f_code is buffers.take_block.__code__:
                frame.f_trace_opcodes = True
                steps += event == "opcode"
                if steps == last:
                    late.clear()
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            arrays = [bytes_of(40)]
        finally:
            sys.settrace(before)
        arrays += [bytes_of(size) for size in (40, 40, 35, 35, 10)]
        assert len({address(array) for array in arrays}) == len(arrays)
        return steps

    count_steps(0)  # Python 3.12 tells single steps from the second time on only
    every = count_steps(0)
    assert every > 10
    for step in range(1, every + 1):
        count_steps(step)


PROGRAM = """
import os, signal, threading
import numpy as np
from xarray_mrc.reading import buffers

buffers.MIN_NBYTES = 2**20

def get():
    return buffers.empty((2**21,), np.dtype("u1"))
"""
FORK = """
started, done = threading.Event(), threading.Event()
def get_for_long():
    class Size(int):
        def __eq__(self, other):
            started.set()
            done.wait(20)
            return False
        __hash__ = int.__hash__
    buffers.take_block(Size(2**21))
first = get()
del first
threading.Thread(target=get_for_long).start()
started.wait()
child = os.fork()
if not child:
    signal.alarm(10)
    get()
    os._exit(0)
status = os.waitpid(child, 0)[1]
done.set()
print(status)
"""
END = """
import codecs
class Last:
    def __init__(self):
        self.me, self.write = self, os.write
        self.array = buffers.empty((2**25,), np.dtype("u1"))
        self.array[:] = ord("7")
    def __del__(self):
        self.write(1, self.array[:1])
codecs.register_error("last", Last().__del__)  # these are let go last of all
"""


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        pytest.param(FORK, "0", marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")),
        (END, "7"),
    ],
)
def test_a_fork_and_the_end_of_the_process(program, printed):
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM + program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, printed, "")
