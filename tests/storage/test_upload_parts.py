"""How a block is cut into the parts of an upload, for files of any size; no server is needed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from xarray_mrc.storage.remote import upload
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.upload import UploadSink


@pytest.mark.parametrize("part_nbytes", [5, 60, 64, 100, 150])
def test_no_two_parts_have_one_number(part_nbytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file above 640 GB has larger parts than those that a block is cut into."""
    monkeypatch.setattr(upload, "MAX_PART_NBYTES", 64)
    uploaded: dict[int, bytes] = {}

    class Recording(UploadSink):
        def call(self, name: str, **arguments: object) -> dict[str, str]:
            assert arguments["PartNumber"] not in uploaded
            uploaded[arguments["PartNumber"]] = arguments["Body"]  # type: ignore[index, assignment]
            return {"ETag": "any"}

    sink = Recording("s3://b/a.mrc", "b", "a.mrc", "1", StorageOptions(), part_nbytes)
    data = bytes(range(256)) * 8
    edges = [10, 10 + 7 * part_nbytes, 10 + 9 * part_nbytes, len(data)]
    held = b""
    for start, stop in pairwise(edges):
        receipt = sink.write_ranges([(start, data[start:stop])])
        held += b"".join(part for _, part in receipt.held)
    assert held + b"".join(body for _, body in sorted(uploaded.items())) == data[10:]
    assert all(len(body) >= part_nbytes for body in [*uploaded.values()][:-1])
