"""The ten 80-byte text labels at the end of the header."""

from __future__ import annotations

__all__ = ["LABEL_COUNT", "LABEL_SIZE", "decode_labels", "label_slots"]

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
    texts = (slot.split(b"\0", 1)[0].decode("latin-1") for slot in label_slots(label_bytes))
    cleaned = ("".join(c if c.isprintable() else " " for c in text).strip(BLANKS) for text in texts)
    return tuple(text for text in cleaned if text)


def label_slots(label_bytes: bytes) -> list[bytes]:
    """Cut the 800 bytes into the ten labels, each as it lies there."""
    return [label_bytes[i : i + LABEL_SIZE] for i in range(0, len(label_bytes), LABEL_SIZE)]
