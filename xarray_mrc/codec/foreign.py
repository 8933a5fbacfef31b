"""Names of other formats by their first bytes, for the error about a file that is not MRC."""

from __future__ import annotations

__all__ = ["foreign_format"]

# Offset, bytes, and the format.
SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (
        0,
        b"version https://git-lfs",
        "a Git LFS pointer, a text in place of the file: fetch the file with 'git lfs pull'",
    ),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (0, b"II*\0", "a TIFF image"),
    (0, b"MM\0*", "a TIFF image"),
    (0, b"II+\0", "a BigTIFF image, or an EER movie"),
    (0, b"MM\0+", "a BigTIFF image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (.h5, .nc, .hdf of EMAN, ...)"),
    (0, b"CDF\x01", "a netCDF file"),
    (0, b"CDF\x02", "a netCDF file"),
    (0, b"CDF\x05", "a netCDF file"),
    (0, b"PK\x03\x04", "a ZIP archive: unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (0, b"Rar!\x1a\x07", "a RAR archive: unpack it first"),
    (0, b"\x1f\x9d", "a file compressed with compress (.Z): unpack it first"),
    (0, b"\x04\x22\x4d\x18", "a file compressed with lz4: unpack it first"),
    (257, b"ustar", "a tar archive: unpack it first"),
    (0, b"\x93NUMPY", "a NumPy array (.npy)"),
    (0, b"II\x97\x01", "a TIA series (.ser)"),
    (0, b"\0\0\0\x03", "a DigitalMicrograph file (.dm3)"),
    (0, b"\0\0\0\x04", "a DigitalMicrograph file (.dm4)"),
    (344, b"n+1\0", "a NIfTI image"),
    (344, b"ni1\0", "the header of a NIfTI image"),
    (4, b"n+2\0", "a NIfTI image"),
    (4, b"ni2\0", "the header of a NIfTI image"),
    (128, b"DICM", "a DICOM file"),
)
PAGE = "an HTML page, such as a server sends in place of a file"
MARKUP = (("<!doctype html", PAGE), ("<html", PAGE), ("<?xml", "an XML file"))
SHOWN_CHARACTERS = 30


def foreign_format(raw: bytes) -> str:
    """Return the name of the other format that a file has, by its first bytes.

    Parameters
    ----------
    raw : bytes
        The first 1024 bytes of a file, or fewer. They are not an MRC header.

    Returns
    -------
    str
        The name, and what to do if that is known; empty if the format is unknown.

    Examples
    --------
    >>> foreign_format(b"GIF89a" + bytes(1018))
    'a GIF image'
    """
    for offset, signature, name in SIGNATURES:
        if raw.startswith(signature, offset):
            return name
    # The last character may be cut in two.
    text = raw.decode("utf-8-sig", "ignore").strip()
    if not text or len(text.encode()) < len(raw.strip()) - 7:
        return ""
    for markup, name in MARKUP:
        if text.lower().startswith(markup):
            return name
    shown = text[:SHOWN_CHARACTERS]
    is_text = all(character.isprintable() or character.isspace() for character in text)
    return f"a text that begins {shown!r}" if is_text else ""
