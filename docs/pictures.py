"""Make the pictures of the documentation that the package draws itself.

    python docs/pictures.py        writes docs/show.png and docs/report.png

Needs matplotlib, and Chromium for the report.
"""

from __future__ import annotations

import argparse
import io
import runpy
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

import xarray_mrc
from xarray_mrc.checking.report_page import report_page
from xarray_mrc.pictures.thumbnails import report_thumbnails

DOCS = Path(__file__).resolve().parent
# First bytes of the cell lengths, the version, and the greatest density.
CELL, NVERSION, DMAX = 40, 108, 80
WINDOW = (900, 1080)
CHROMIUM = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip


def write_files(folder: Path) -> None:
    """Write the files of the documentation, and copies with faults in their headers."""
    runpy.run_path(str(DOCS / "tomogram.py"))["write_files"](folder)
    raw = (folder / "tomo.mrc").read_bytes()
    faults = {
        "no_voxel_size.mrc": (CELL, struct.pack("<3f", 0, 0, 0)),
        "old_version.mrc": (NVERSION, struct.pack("<i", 0)),
        "wrong_maximum.mrc": (DMAX, struct.pack("<f", 255)),
    }
    for name, (offset, value) in faults.items():
        (folder / name).write_bytes(raw[:offset] + value + raw[offset + len(value) :])
    (folder / "cut_off.mrc").write_bytes(raw[: len(raw) // 2])


def save(png: bytes, path: Path, colours: int) -> None:
    """Save a picture with few colours: a third of the size."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    few = image.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def draw_figure(folder: Path, target: Path) -> None:
    """Draw the figure of the tomogram."""
    buffer = io.BytesIO()
    xarray_mrc.open_mrc(folder / "tomo.mrc").mrc.show().savefig(buffer, format="png", dpi=80)
    save(buffer.getvalue(), target / "show.png", 64)


def draw_report(folder: Path, target: Path) -> None:
    """Draw the top of a report page, as Chromium shows it."""
    names = (
        "cut_off.mrc",
        "no_voxel_size.mrc",
        "old_version.mrc",
        "tilts.mrc",
        "wrong_maximum.mrc",
    )
    reports = [xarray_mrc.validate(folder / name) for name in names]
    page = report_page(reports, report_thumbnails(reports)).replace(f"{folder}/", "")
    (folder / "report.html").write_text(page, "utf-8")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("docs/pictures.py: chromium is not installed: run ci/packages browser")
    command = [program, *CHROMIUM, f"--user-data-dir={folder / 'profile'}"]
    command += [f"--window-size={WINDOW[0]},{WINDOW[1]}", f"--screenshot={folder / 'report.png'}"]
    command.append((folder / "report.html").as_uri())
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)  # noqa: S603
    if not (folder / "report.png").exists():
        raise SystemExit(f"docs/pictures.py: chromium failed: {done.stderr.decode()}")
    save((folder / "report.png").read_bytes(), target / "report.png", 128)


def main() -> None:
    """Write all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", type=Path, default=DOCS, help="where to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder)
        draw_figure(folder, options.target)
        draw_report(folder, options.target)


if __name__ == "__main__":
    main()
