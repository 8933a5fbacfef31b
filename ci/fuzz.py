"""Open many mutated files and check the rules.

Each file must be read correctly, or be refused with MrcError, OSError or EOFError. Reading must not
change a file, take more than two seconds, or raise memory by more than 256 MiB.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from fuzzing import CONTAINERS, check, make_file, mutate, open_and_load  # noqa: E402

MAX_SECONDS = 2.0
MAX_MIB = 256.0


def peak_mib() -> float:
    """Return the peak resident memory of this process in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> int:
    """Run with the options of the command line; return 0 if no file broke a rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--number", type=int, default=20_000, help="number of files")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random files")
    parser.add_argument("--corpus", type=Path, help="a directory of real files to mutate, too")
    options = parser.parse_args()
    real = [p.read_bytes() for p in sorted(options.corpus.iterdir())] if options.corpus else []
    real = [data for data in real if len(data) < 2**19]
    containers = sorted(CONTAINERS)
    opened: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    slowest, broken = 0.0, 0
    open_and_load(make_file(random.Random(0)))  # so that imports do not count
    before = peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mutant.mrc")
        for number in range(options.number):
            rng = random.Random((options.seed << 32) + number)
            container = containers[number % len(containers)]
            data = rng.choice(real) if real and rng.random() < 0.1 else make_file(rng)
            pack = CONTAINERS[container]
            inside = rng.random() < 0.5
            data = pack(mutate(data, rng)) if inside else mutate(pack(data), rng)
            tried[container] += 1
            start = time.process_time()
            try:
                opened[container] += check(data, container)
                if number % 10 == 0:
                    path.write_bytes(data)
                    stamp = path.stat().st_mtime_ns
                    open_and_load(path, truncated="sections", extended_header="all", chunks={})
                    if path.read_bytes() != data or path.stat().st_mtime_ns != stamp:
                        raise AssertionError("the file was changed by being read")
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                broken += 1
                print(f"file {number} ({container}): {type(error).__name__}: {error}")
            seconds = time.process_time() - start
            slowest = max(slowest, seconds)
            if seconds > MAX_SECONDS:
                broken += 1
                print(f"file {number} ({container}) took {seconds:.1f} s of CPU time")
    grown = peak_mib() - before
    for container in containers:
        print(f"{container:6} {opened[container]:6} of {tried[container]} opened")
    print(
        f"{opened.total()} of {options.number} opened; slowest {slowest:.2f} s; memory grew by "
        f"{grown:.0f} MiB; {broken} broke a rule"
    )
    return int(broken > 0 or grown > MAX_MIB or 3 * opened.total() < options.number)


if __name__ == "__main__":
    sys.exit(main())
