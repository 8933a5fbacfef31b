"""The drop-in side by side with mrcfile: each task in a new process, in turns.

    python tests/benchmarks/dropin.py [--mib 1024] [--runs 3] [FOLDER]

Prints the medians of seconds, processor seconds and peak memory with their ratios to mrcfile, and
the memory that the task added. This is not a test.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
from mrcbytes import header
from programs import PEAK_MEMORY

SIDE = 1024
IMPORTS = {"mrcfile": "import mrcfile", "ours": "from xarray_mrc import mrcfile"}
TASKS = {
    "open .gz, one section": "mrcfile.open(path + '.gz').data[5].copy()",
    "open, one section": "mrcfile.open(path).data[5].copy()",
    "read": "mrcfile.read(path)",
    "map, one section": "mrcfile.mmap(path).data[5].copy()",
    "set_data": "mrc.set_data(data)",
    "header edit, r+": "edit(mrcfile.open(path, 'r+'))",
    "header edit, r+, header only": "edit(mrcfile.open(path, 'r+', header_only=True))",
    "write .gz": "mrcfile.write(path + '.new.gz', data, overwrite=True)",
}
DESTROYS = {("header edit, r+, header only", "mrcfile")}
PROGRAM = """
import json, sys, time, warnings
import numpy as np
{imports}
warnings.simplefilter("ignore")
{peak}
def written():
    with open("/proc/self/io") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("wchar"))
def edit(mrc):
    mrc.header.ispg = 1 + int(mrc.header.ispg)
    mrc.close()
path = {path!r}
if "data)" in {task!r} or ", data" in {task!r}:
    data = np.fromfile(path, "f4", offset=1024).reshape(-1, {side}, {side})
    mrc = mrcfile.mrcobject.MrcObject()
    mrc._create_default_attributes()
memory, bytes_before = peak_nbytes(), written()
wall, processor = time.perf_counter(), time.process_time()
{task}
print(json.dumps([
    time.perf_counter() - wall, time.process_time() - processor, peak_nbytes() / 2**20,
    (peak_nbytes() - memory) / 2**20, written() - bytes_before,
]))
"""


def make_files(path: Path, sections: int) -> None:
    """Write float32 noise, 4 MiB a section: all sections plain, the first 56 as gzip."""
    noise = np.random.default_rng(0).normal(size=(56, SIDE, SIDE)).astype("<f4")
    packed = min(sections, 56)
    with path.open("wb") as plain:
        fill(plain, noise, sections)
    with gzip.open(f"{path}.gz", "wb", compresslevel=1) as compressed:
        fill(compressed, noise, packed)


def fill(file: IO[bytes], noise: np.ndarray, count: int) -> None:
    file.write(header(nx=SIDE, ny=SIDE, nz=count, mx=SIDE, my=SIDE, mz=count))
    for section in range(count):
        file.write(noise[section % len(noise)].tobytes())


def measure(task: str, module: str, path: Path) -> list[float]:
    """Return seconds, processor seconds, peak memory, memory added and bytes written of a task."""
    program = PROGRAM.format(
        imports=IMPORTS[module], peak=PEAK_MEMORY, path=str(path), task=TASKS[task], side=SIDE
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: list[float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where the test files are made")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder, "noise.mrc")
        make_files(path, options.mib // 4)
        print(f"{options.mib} MiB of float32 (.gz: at most 224), median of {options.runs} runs")
        for task in TASKS:
            modules = [name for name in IMPORTS if (task, name) not in DESTROYS]
            runs = [{n: measure(task, n, path) for n in modules} for _ in range(options.runs)]
            found = {
                name: [statistics.median(run[name][i] for run in runs) for i in range(5)]
                for name in modules
            }
            first = found.get("mrcfile")
            for name, (wall, processor, memory, added, written) in found.items():
                pairs = zip(found[name], first or found[name], strict=True)
                ratios = [mine / theirs if theirs else 0 for mine, theirs in pairs]
                print(
                    f"{task:29} {name:8} {wall:8.3f} s ({ratios[0]:.2f}) cpu {processor:8.3f} s "
                    f"({ratios[1]:.2f}) memory {memory:6.0f} MiB ({ratios[2]:.2f}) "
                    f"[+{added:.0f} ({ratios[3]:.2f})] written {written:.0f} B",
                    flush=True,
                )


if __name__ == "__main__":
    main()
