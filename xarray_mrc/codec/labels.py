"""The ten 80-byte text labels at the end of the header."""

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


def decode_labels(label_bytes: bytes) -> tuple[str, ...]:
    """Give the labels that hold text.

    NLABL is not asked: writers get it wrong (peers set 1 with none, or 10 with nine empty), and a
    text beyond it is still a text. Bytes that are not ASCII are taken as Latin-1, so that
    none is lost; control characters become blanks.

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
    """Cut the 800 bytes into the ten labels, each as it lies there."""
    return [label_bytes[i : i + LABEL_SIZE] for i in range(0, len(label_bytes), LABEL_SIZE)]


def encode_labels(labels: Sequence[str]) -> bytes:
    """Lay down labels as the header holds them; the inverse of `decode_labels`.

    Parameters
    ----------
    labels : sequence of str
        Up to ten texts.

    Returns
    -------
    bytes
        800 bytes, padded with blanks.

    Raises
    ------
    ValueError
        There are too many, or one is too long, empty or not printable in Latin-1.

    Examples
    --------
    >>> decode_labels(encode_labels(["first", "second"]))
    ('first', 'second')
    """
    if len(labels) > LABEL_COUNT:
        raise ValueError(f"there are {len(labels)} labels, expected at most {LABEL_COUNT}")
    found = b""
    for label in labels:
        slot = label.encode("latin-1", "replace")
        if decode_labels(slot) != (label,) or len(slot) > LABEL_SIZE:
            raise ValueError(
                f"the label {label!r} was found, expected 1 to {LABEL_SIZE} printable characters "
                f"of Latin-1, with no blank at its ends"
            )
        found += slot.ljust(LABEL_SIZE)
    return found.ljust(LABEL_SIZE * LABEL_COUNT)


def split_labels(labels: str | Iterable[str]) -> list[str]:
    """Give labels one by one, without empty ones.

    Parameters
    ----------
    labels : str or iterable of str
        A text that has one a line, or several.

    Returns
    -------
    list of str

    Raises
    ------
    TypeError
        One is no text.

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
