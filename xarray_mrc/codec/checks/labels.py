"""The checks of the labels."""

from __future__ import annotations

from typing import Any

from xarray_mrc.codec.checks.base import ERROR, WARNING, Check, Facts, when
from xarray_mrc.codec.labels import LABEL_COUNT, label_slots

__all__ = ["LABEL_CHECKS"]


def label_count(facts: Facts) -> str | None:
    filled = [bool(slot.strip(b" \0")) for slot in label_slots(facts.header.label_bytes)]
    count = sum(filled)
    if facts.header.nlabl == count and all(filled[:count]):
        return None
    if facts.header.nlabl == count:
        return f"{count} labels contain text, but an empty label precedes one of them"
    number = {0: "no label contains", 1: "1 label contains"}.get(count, f"{count} labels contain")
    return f"nlabl is {facts.header.nlabl}, but {number} text"


def label_text(facts: Facts) -> str | None:
    for number, slot in enumerate(label_slots(facts.header.label_bytes), 1):
        text = slot.rstrip(b" \0")
        if text and not (text.isascii() and text.decode("ascii").isprintable()):
            return f"label {number} is {text!r}, expected printable ASCII"
    return None


def first_labels(facts: Facts) -> dict[str, Any]:
    slots = label_slots(facts.header.label_bytes)
    texts = [slot for slot in slots if slot.strip(b" \0")]
    blanks = [slot for slot in slots if not slot.strip(b" \0")]
    return {"nlabl": len(texts), "label_bytes": b"".join(texts + blanks)}


# fmt: off
LABEL_CHECKS: tuple[Check, ...] = (
    Check("L01", ERROR, False, "NLABL is 0 to 10", when(
        lambda h: not 0 <= h.nlabl <= LABEL_COUNT,
        lambda h: f"nlabl is {h.nlabl}, expected 0 to {LABEL_COUNT}"), first_labels),
    Check("L02", WARNING, False, "NLABL is the number of labels with text",
        label_count, first_labels),
    Check("L03", WARNING, False, "labels are printable ASCII", label_text),
)
# fmt: on
