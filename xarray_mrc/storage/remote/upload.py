"""New files in S3, uploaded in parts by whoever has them, which appear when all parts are there.

Sources: the Amazon S3 API, CreateMultipartUpload to CompleteMultipartUpload, and its limits: parts
of 5 MiB to 5 GiB but for the last one, numbered from 1 to 10,000.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from xarray_mrc.errors import MrcError
from xarray_mrc.storage.local_sink import already_exists
from xarray_mrc.storage.remote.filesystem import file_system
from xarray_mrc.storage.remote.options import StorageOptions
from xarray_mrc.storage.remote.urls import HTTP, public_url
from xarray_mrc.storage.sink import Receipt, Written, first_bytes, split_held

__all__ = ["UploadSink", "UploadTarget", "new_upload", "refuse", "writable_file_system"]

MIN_PART_NBYTES = 5 * 2**20
MAX_PARTS = 10_000
# Of a block of any size at a time: bounds the memory of a worker that uploads it.
MAX_PART_NBYTES = 64 * 2**20
GIVEN_UP = ("NoSuchUpload", "upload does not exist")


@dataclass(frozen=True, slots=True)
class UploadSink:
    """A multipart upload: a small picklable value that holds nothing open.

    Attributes
    ----------
    path : str
        URL of the file, without secrets.
    bucket, key, upload_id : str
        Names in S3.
    options : StorageOptions
        How the storage is reached; workers need them, and its repr does not show them.
    part_nbytes : int
        Minimum size of a part; a multiple of it numbers the parts.
    """

    path: str
    bucket: str
    key: str
    upload_id: str
    options: StorageOptions
    part_nbytes: int

    @property
    def held_nbytes(self) -> int:
        """Bytes of the first part, which holds the header and is uploaded last."""
        return self.part_nbytes

    @property
    def min_block_nbytes(self) -> int:
        """Bytes of a part: a block is one part or more."""
        return self.part_nbytes

    def write_ranges(self, parts: Written) -> Receipt:
        """Upload ranges that follow one another as parts.

        Those of one call must make one range; it may be short only at the end of the file.
        """
        held: list[tuple[int, bytes]] = []
        tags: list[tuple[int, str]] = []
        for offset, data in joined(split_held(parts, self.part_nbytes, held), self.part_nbytes):
            if len(data) < self.part_nbytes and offset == self.part_nbytes:
                held.append((offset, bytes(data)))  # too short for a part behind the first one
            else:
                tags.append((self._number(offset), self._upload(offset, data)))
        return Receipt(tuple(held), tuple(tags))

    def _upload(self, offset: int, data: bytes | bytearray) -> str:
        """Upload one part and return its ETag."""
        return str(
            self.call(
                "upload_part", UploadId=self.upload_id, PartNumber=self._number(offset),
                Body=bytes(data),
            )["ETag"]
        )  # fmt: skip

    def _number(self, offset: int) -> int:
        """Return the number of the part that starts at an offset: unique, and in the same order."""
        return offset // self.part_nbytes + 1

    def call(self, name: str, **arguments: Any) -> Any:
        """Send a request about the file; OSError if it fails."""
        fs = writable_file_system(self.path, self.options)
        try:
            return fs.call_s3(name, Bucket=self.bucket, Key=self.key, **arguments)
        except Exception as error:
            refuse(self.path, error)


def joined(parts: Iterable[tuple[int, memoryview]], nbytes: int) -> Iterator[tuple[int, bytearray]]:
    """Yield ranges that follow one another as pieces of `nbytes` or more, but for the last one."""
    start, data = 0, bytearray()
    # Two parts that start within `nbytes` would have the same number, and one would be lost.
    most = max(MAX_PART_NBYTES, nbytes)
    for offset, block in parts:
        if data and offset != start + len(data):
            raise ValueError(
                f"bytes {start + len(data)} to {offset} are missing in a block: blocks of an "
                f"upload must be without gaps"
            )
        start = start if data else offset
        data += block
        while len(data) >= most + nbytes:
            yield start, data[:most]
            start, data = start + most, data[most:]
    if data:
        yield start, data


class UploadTarget:
    """A new file in S3, which appears when it is finished.

    Parameters
    ----------
    sink : UploadSink
        Takes the bytes.
    overwrite : bool
        Whether an existing file may be replaced.
    """

    def __init__(self, sink: UploadSink, *, overwrite: bool) -> None:
        self.sink = sink
        self._overwrite = overwrite
        self._is_open = True

    def finish(self, head: bytes = b"", receipts: Iterable[Receipt] = ()) -> None:
        """Upload the first part, and have S3 put all parts together."""
        sink, receipts = self.sink, list(receipts)
        tags = dict(tag for receipt in receipts for tag in receipt.tags)
        tags[1] = sink._upload(0, first_bytes(head, receipts))
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in sorted(tags.items())]
        arguments: dict[str, Any] = {} if self._overwrite else {"IfNoneMatch": "*"}
        sink.call(
            "complete_multipart_upload", UploadId=sink.upload_id,
            MultipartUpload={"Parts": parts}, **arguments,
        )  # fmt: skip
        self._is_open = False
        writable_file_system(sink.path, sink.options).invalidate_cache(f"{sink.bucket}/{sink.key}")

    def abort(self) -> None:
        """Have S3 drop all parts, unless the file is there."""
        if self._is_open:
            self._is_open = False
            with suppress(OSError, MrcError):
                self.sink.call("abort_multipart_upload", UploadId=self.sink.upload_id)


@contextmanager
def new_upload(
    url: str, options: StorageOptions, *, nbytes: int, overwrite: bool
) -> Iterator[UploadTarget]:
    """Begin a file in S3 that appears under its name when it is finished.

    Parameters
    ----------
    url : str
        Where it will be, ``s3://bucket/name``.
    options : StorageOptions
        How the storage is reached.
    nbytes : int
        Size of the file.
    overwrite : bool
        Whether an existing file may be replaced.

    Yields
    ------
    UploadTarget
        It is given up at the end of the context unless it was finished.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    fs = writable_file_system(url, options)
    bucket, key, _ = fs.split_path(url)
    part_nbytes = max(MIN_PART_NBYTES, -(-nbytes // (MAX_PARTS - 1)))
    sink = UploadSink(public_url(url), bucket, key, "", options, part_nbytes)
    upload_id = sink.call("create_multipart_upload")["UploadId"]
    sink = UploadSink(sink.path, bucket, key, upload_id, options, part_nbytes)
    target = UploadTarget(sink, overwrite=overwrite)
    try:
        yield target
    finally:
        target.abort()


def writable_file_system(url: str, options: StorageOptions) -> Any:
    """Return the file system of fsspec for a new file; OSError for a URL of HTTP."""
    if url.lower().startswith(HTTP):
        # Few web servers take files, and fsspec's client logs URLs with their secrets.
        raise OSError(
            f"{public_url(url)}: a file cannot be written by HTTP, expected a local path, s3:// or "
            f"another storage of fsspec"
        )
    return file_system(url, options)[0]


def refuse(path: str, error: Exception) -> NoReturn:
    """Raise the OSError for a request that failed; its text holds no secrets."""
    text = str(error)
    if "PreconditionFailed" in text or "At least one of the pre-conditions" in text:
        raise already_exists(path) from None
    if any(mark in text for mark in GIVEN_UP):
        raise MrcError(
            f"{path}: the upload was given up, or has ended already, so that this part comes too "
            f"late; write the file again"
        ) from None
    # The text may hold a URL with its secrets.
    if isinstance(error, FileNotFoundError):
        raise FileNotFoundError(
            f"{path}: there is no such bucket or directory; check the URL"
        ) from None
    if isinstance(error, PermissionError):
        raise PermissionError(
            f"{path}: the storage refuses access: pass credentials in storage_options="
        ) from None
    raise OSError(
        f"{path}: the storage refused a request, or could not be reached ({type(error).__name__})"
    ) from None
