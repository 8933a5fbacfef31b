"""The ten labels of 80 bytes at the end of the header."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = [
    "LABEL_COUNT",
    "LABEL_SIZE",
    "decode_labels",
    "encode_labels",
    "label_slots",
    "split_labels",
]

LABEL_COUNT = 10
LABEL_SIZE = 80
BLANKS = " \t\r\n\0"


# ASCII for characters that Unicode does not decompose into an ASCII letter and marks.
# ruff: noqa: RUF001
REPLACEMENTS = {
    "\N{GREEK SMALL LETTER MU}": "u", "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE",
    "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th",
    "Þ": "Th", "ı": "i", "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "Δ": "Delta",
    "θ": "theta", "λ": "lambda", "π": "pi", "σ": "sigma", "φ": "phi", "χ": "chi", "ψ": "psi",
    "ω": "omega", "Ω": "Ohm", "°": "deg", "±": "+-", "×": "x", "÷": "/", "·": ".", "•": "*",
    "…": "...", "≈": "~", "≤": "<=", "≥": ">=", "«": '"', "»": '"', "©": "(c)", "®": "(R)",
    "‘": "'", "’": "'", "“": '"', "”": '"', "‐": "-", "‑": "-", "–": "-", "—": "-",
    "−": "-", "⁄": "/",
}  # fmt: skip


def decode_labels(label_bytes: bytes) -> tuple[str, ...]:
    """Return the labels that contain text.

    NLABL is ignored: some writers set 1 with no label, or 10 with nine empty ones, and a text after
    it is still a text. Bytes that are not ASCII are decoded as Latin-1, so that none is lost, and
    control characters become blanks.

    Parameters
    ----------
    label_bytes : bytes
        The 800 bytes of the ten labels.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> decode_labels(b"made by hand".ljust(80) + b" " * 720)
    ('made by hand',)
    """
    if not label_bytes.strip(b" \0"):
        return ()
    texts = (slot.split(b"\0", 1)[0].decode("latin-1") for slot in label_slots(label_bytes))
    cleaned = ("".join(c if c.isprintable() else " " for c in text).strip(BLANKS) for text in texts)
    return tuple(text for text in cleaned if text)


def label_slots(label_bytes: bytes) -> list[bytes]:
    """Split the 800 bytes into the ten labels, each as it is stored."""
    return [label_bytes[i : i + LABEL_SIZE] for i in range(0, len(label_bytes), LABEL_SIZE)]


def transliterate(text: str) -> str:
    """Return a text in ASCII: A for Å, u for µ, e for é.

    Parameters
    ----------
    text : str
        The text.

    Returns
    -------
    str
        Characters of Latin-1 without a counterpart become "?"; others are kept as they are.

    Examples
    --------
    >>> transliterate("1.35 Å, 2 µm, Gauß, 30°")
    '1.35 A, 2 um, Gauss, 30deg'
    """
    if text.isascii():
        return text
    import unicodedata

    found = ""
    for character in text:
        plain = "".join(
            REPLACEMENTS.get(part, part)
            for part in unicodedata.normalize("NFKD", character)
            if not unicodedata.combining(part)
        )
        plain = REPLACEMENTS.get(character, plain)
        if not plain.strip() or not plain.isascii():
            plain = character if character.isascii() or character > "\xff" else "?"
        found += plain
    return found


def encode_labels(labels: Sequence[str]) -> bytes:
    """Encode labels as the header stores them, in ASCII; `decode_labels` reads them back.

    Parameters
    ----------
    labels : sequence of str
        Up to ten texts. Characters that are not ASCII are transliterated.

    Returns
    -------
    bytes
        800 bytes, padded with blanks.

    Raises
    ------
    ValueError
        There are more than ten labels, or one is too long, empty or not printable, or has
        characters without a counterpart in ASCII.

    Examples
    --------
    >>> decode_labels(encode_labels(["first", "1.35 Å"]))
    ('first', '1.35 A')
    """
    if len(labels) > LABEL_COUNT:
        raise ValueError(f"there are {len(labels)} labels, expected at most {LABEL_COUNT}")
    found = b""
    for label in labels:
        text = transliterate(label)
        slot = text.encode("ascii", "replace")
        if decode_labels(slot) != (text,) or len(slot) > LABEL_SIZE:
            raise ValueError(
                f"the label {label!r} was found, expected 1 to {LABEL_SIZE} printable characters "
                f"of ASCII, or of Latin-1 or Greek, which are transliterated, with no blank at the "
                f"ends"
            )
        found += slot.ljust(LABEL_SIZE)
    return found.ljust(LABEL_SIZE * LABEL_COUNT)


def split_labels(labels: str | Iterable[str]) -> list[str]:
    """Return labels as a list, without empty ones.

    Parameters
    ----------
    labels : str or iterable of str
        A text with one label a line, or several labels.

    Returns
    -------
    list of str

    Raises
    ------
    TypeError
        A label is not a str.

    Examples
    --------
    >>> split_labels(["first", "", "second"])
    ['first', 'second']
    """
    texts = labels.split("\n") if isinstance(labels, str) else list(labels)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"the label {text!r} was found, expected a str")
    return [text for text in texts if text]
