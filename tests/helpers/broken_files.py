"""One broken file for each check: its id, its bytes, and other checks that it also breaks."""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import struct

import numpy as np
from files import LABEL, NUMBERS, sound, stated
from hypothesis import strategies as st
from mrcbytes import IMOD

BYTES = np.arange(-12, 12, dtype="i1").reshape(2, 3, 4)
UNSIGNED = np.arange(24, dtype="u1").reshape(2, 3, 4)
COMPLEX = (NUMBERS + 1j).astype("c8")
SYMMETRY = b"X,Y,Z".ljust(80)
NAN = NUMBERS.copy()
NAN[0, 0, 1] = math.nan
RGB = np.arange(72, dtype="u1").reshape(2, 3, 12)
STACK = {"ispg": 0, "mz": 1, "cella": (6.0, 4.5, 1.5)}
RECORDS = bytes(80)
WARP = np.array([-3, 85, *(30 * [0]), 3, 85, *(30 * [0])], "<f4").tobytes()  # tilt, rotation

# The id, the file, and the ids of checks that this file breaks, too.
FILES: list[tuple[str, bytes, set[str]]] = [
    ("H43", b"no such format".ljust(2000, b"."), set()),
    ("H01", sound()[:1000], set()),
    ("H02", sound(map_id=b"\0\0\0\0"), set()),
    ("H49", sound(nversion=0, map_id=b"\xff\xff\xff\xff", machst=b"abcd"),
     {"H02", "H03", "H06", "D05"}),
    ("H33", sound(map_id=b"MAP\0"), set()),
    ("H03", sound(machst=b"\0\0\0\0"), set()),
    ("H03", sound(machst=b"\x44\x44\1\0"), set()),
    ("H04", sound(machst=b"\x11\x11\0\0"), set()),
    ("H04", sound(order=">", machst=b"\x44\x44\0\0"), set()),
    ("H05", sound(mode=7), set()),
    ("H34", sound(RGB, mode=16, nx=4, mx=4, cella=(6.0, 4.5, 3.0)), set()),
    ("H06", sound(nversion=0), set()),
    ("H39", sound(NUMBERS.astype("f2"), nversion=20140), set()),
    ("H07", sound(nx=0), set()),
    ("H07", sound(nx=2**31 - 1, ny=2**31 - 1, nz=4, mz=4), {"S01"}),
    ("H08", sound(mx=-4), set()),
    ("H35", sound(my=0), set()),
    ("H09", sound(cella=(6.0, -4.5, 3.0)), set()),
    ("H09", sound(cella=(math.nan, 4.5, 3.0)), set()),
    ("H40", sound(cella=(6.0, 4.5, 0.0)), set()),
    ("H10", sound(cellb=(90.0, 200.0, 90.0), ispg=4), set()),
    ("H41", sound(cellb=(90.0, 100.0, 90.0)), set()),
    ("H41", sound(cellb=(0.0, 0.0, 0.0), ispg=4), set()),
    ("H11", sound(mapc=2), set()),
    ("H12", sound(ispg=401, mapc=2, mapr=1), set()),
    ("H13", sound(ispg=300), set()),
    ("H14", sound(ispg=401, mz=4), set()),
    ("H15", sound(ispg=0, mz=4), set()),
    ("H16", sound(mz=4), set()),
    ("H17", sound(ispg=0), {"H15"}),
    ("H18", sound(nxstart=999_999), set()),
    ("H19", sound(origin=(math.inf, 0.0, 0.0)), set()),
    ("H36", sound(origin=(1.0, 2.0, 3.0), nxstart=1), set()),
    ("H20", sound(cella=(4.0, 3.0, 2.0), origin=(2.0, 1.5, 0.5)), set()),
    ("H21", sound(imod_stamp=IMOD, nversion=0, origin=(1.0, 1.0, 1.0)), {"H06"}),
    ("H22", sound(BYTES, dmax=200.0), {"D07"}),
    ("H37", sound(UNSIGNED, imod_stamp=IMOD), set()),
    (
        "H31",
        sound(BYTES, imod_flags=-128, scale_top=127, dmin=-3.0, dmax=5.0, dmean=0.0, rms=-1.0),
        {"D01", "D07", "D02", "D05"},
    ),
    (
        "H32",
        sound(mode=0, nx=3838, ny=7420, nz=1, mx=3838, my=7420, mz=1, labels=(b"4 bits packed",)),
        {"S01"},
    ),
    ("H44", sound(UNSIGNED, imod_stamp=IMOD, imod_flags=17), set()),
    ("H23", sound(lskflg=1 << 16), set()),
    ("H23", sound()[:195] + b"\1" + sound()[196:], set()),
    ("H24", sound(nsymbt=-80), set()),
    # One byte more than header and data, which alone would be a file without the records.
    ("H24", sound(nsymbt=10**6 + 4, exttyp=b"CCP4") + b"\0", set()),
    ("H25", sound(extended=bytes(84)), set()),
    ("H26", sound(extended=b"no operator".ljust(80), exttyp=b"CCP4"), set()),
    ("H45", sound(extended=SYMMETRY, exttyp=b"CCP4", ispg=4), set()),
    ("H45", sound(extended=SYMMETRY + SYMMETRY, exttyp=b"CCP4"), set()),
    ("H45", sound(extended=SYMMETRY, exttyp=b"CCP4", ispg=404), set()),
    ("H27", sound(extended=RECORDS, exttyp=b"FEI1"), set()),
    ("H27", sound(extended=RECORDS, exttyp=b"FEI2"), set()),
    ("H46", sound(extended=WARP, exttyp=b"FEI1"), set()),
    ("H46", sound(extended=2 * (struct.pack("<i", 768) + bytes(764)), exttyp=b"FEI2"), set()),
    ("H28", sound(extended=b"\1" * 80, exttyp=b"SERI", nint=7, nreal=3), set()),
    ("H47", sound(extended=WARP, exttyp=b"SERI", nreal=32), set()),
    ("H29", sound(extended=b"\1" * 80, exttyp=b"AGAR", nint=70, nreal=70), set()),
    ("H48", sound(extended=RECORDS, exttyp=b"AGAR"), set()),
    ("H38", sound(extended=RECORDS, exttyp=b"HDF5"), set()),
    ("H30", sound(lskflg=1, exttyp=b"CCP4"), {"H42"}),
    ("H42", sound(lskflg=1, skew_translation=(1.0, 0.0, 0.0)), set()),
    ("L01", sound(nlabl=11), {"L02"}),
    ("L02", sound(nlabl=2), set()),
    ("L02", sound(labels=(b"", LABEL), nlabl=1), set()),
    ("L03", sound(labels=(b"\xcd\xcd label",)), set()),
    ("S01", sound()[:-1], set()),
    ("S01", sound()[:1030], set()),
    ("S01", gzip.compress(sound()[:-1]), set()),
    ("S02", sound(nsymbt=160, exttyp=b"CCP4"), set()),
    ("S02", gzip.compress(sound(nsymbt=160, exttyp=b"CCP4")), set()),
    ("S03", sound(trailing=b"more"), set()),
    ("S03", bz2.compress(sound(trailing=b"more")), set()),
    ("D01", sound(dmin=-1.25), set()),
    ("D01", sound(dmin=float(np.nextafter(np.float32(-1), np.float32(0)))), set()),
    ("D07", sound(dmax=3.25), set()),
    ("D02", sound(dmean=1.1), set()),
    ("D03", sound(rms=1.5), set()),
    ("D04", sound(NAN, **stated(NAN[np.isfinite(NAN)])), set()),
    ("D05", sound(rms=-1.0), set()),
    ("D05", sound(rms=0.0), set()),
    ("D06", sound(COMPLEX, mx=8, cella=(12.0, 4.5, 3.0), dmax=2.0, dmean=1.0, rms=1.0), set()),
    ("C02", gzip.compress(sound())[:-9], set()),
    ("C02", gzip.compress(sound())[:100], set()),
    ("C02", lzma.compress(sound())[:-20], set()),
    ("C03", gzip.compress(sound()) + b"garbage", set()),
]  # fmt: skip

WORDS = st.sampled_from([-3, -1, 0, 1, 2, 3, 4, 5, 20140, 20141, IMOD, 17, 80])
FLOATS = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 2.0, 90.0, 1e20, math.nan, math.inf])
TRIPLES = st.tuples(FLOATS, FLOATS, FLOATS)
# Values that damage a field, or seem to; by its name.
DAMAGED_FIELDS = {
    **dict.fromkeys(
        ["mode", "mx", "my", "mz", "mapc", "mapr", "maps", "ispg", "nsymbt", "nversion", "nxstart",
         "imod_stamp", "imod_flags", "lskflg", "nlabl"], WORDS),
    **dict.fromkeys(["dmin", "dmax", "dmean", "rms"], FLOATS),
    **dict.fromkeys(["cella", "cellb", "origin"], TRIPLES),
    "map_id": st.sampled_from([b"MAP\0", b"\0\0\0\0", b" PAM", b"none"]),
    "machst": st.sampled_from([b"\0\0\0\0", b"\x44\x44\1\1", b"\x11\x11\0\0"]),
    "label_bytes": st.sampled_from([b"", b"".ljust(80) + b"second"]),
}  # fmt: skip
