"""Files behind s3://, read through s3fs by conditional requests for ranges."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from xarray_mrc.errors import MrcError
from xarray_mrc.storage.remote.loop import limit
from xarray_mrc.storage.remote.planner import Request
from xarray_mrc.storage.remote.protocol import HEAD_NBYTES, Opened, Version, changed
from xarray_mrc.storage.remote.retry import RetryableError, retry_after, with_retries
from xarray_mrc.storage.remote.url_adapter import RangeAdapter
from xarray_mrc.storage.remote.urls import hash_of

__all__ = ["S3Adapter"]

BLOCK_NBYTES = 256 * 2**10
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
# What fsspec passes to itself.
INTERNAL_OPTIONS = ("asynchronous", "loop", "skip_instance_cache")
SLOW = ("ConnectTimeoutError", "EndpointConnectionError", "ReadTimeoutError", "TimeoutError")
NO_CREDENTIALS = (
    "CredentialRetrievalError", "NoAuthTokenError", "NoCredentialsError",
    "PartialCredentialsError", "ProfileNotFound", "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class S3Adapter(RangeAdapter):
    """An object of S3, or of a server that speaks its protocol.

    Attributes
    ----------
    url : str
        ``s3://bucket/key``, with ``?versionId=...`` for one version.
    options : StorageOptions
        Those of s3fs: ``anon``, ``key``, ``secret``, ``token``, ``profile``, ``endpoint_url``,
        ``client_kwargs``, ``requester_pays`` and others; ``max_requests``, ``timeout``.
    """

    @property
    def copy_key(self) -> str:
        """Hash of URL and server."""
        return hash_of(self.url, self._host)

    async def open(self) -> Opened:
        """Request the first bytes, from which size and version come along."""

        async def attempt(_: bool) -> Opened:
            try:
                async with self._get(0, HEAD_NBYTES) as response:
                    found = CONTENT_RANGE.fullmatch(response.get("ContentRange") or "")
                    if found is None or found[1] != "0":
                        raise self._wrong_range(response, 0, HEAD_NBYTES)
                    size = int(found[3])
                    head = bytearray()
                    while block := await response["Body"].read(BLOCK_NBYTES):
                        head += block
            except EmptyObjectError:
                return Opened(Version(0), b"")
            if len(head) != min(size, HEAD_NBYTES):
                raise RetryableError("the connection was closed before all bytes had come")
            return Opened(version_of(response, size), bytes(head))

        async with self._limit():
            return await with_retries(self.uri, attempt)

    async def _read_one(self, request: Request, version: Version) -> None:
        """Read a range; after an interruption only the rest of it is asked for."""
        position, end = request.offset, request.offset + request.nbytes

        async def attempt(_: bool) -> None:
            nonlocal position
            condition = {"IfMatch": version.strong_etag} if version.strong_etag else {}
            try:
                async with self._get(position, end, **condition) as response:
                    found = CONTENT_RANGE.fullmatch(response.get("ContentRange") or "")
                    if found is None:
                        raise self._wrong_range(response, position, end)
                    version.check(self.uri, version_of(response, int(found[3])))
                    if (found[1], found[2]) != (str(position), str(end - 1)):
                        raise self._wrong_range(response, position, end)
                    while position < end:
                        block = await response["Body"].read(BLOCK_NBYTES)
                        if not block:
                            break
                        request.take(position, block[: end - position])
                        position += len(block)
            except EmptyObjectError:
                raise changed(self.uri, "it is empty now") from None
            if position < end:
                raise RetryableError("the connection was closed before all bytes had come")

        await with_retries(self.uri, attempt)

    def _wrong_range(self, response: Any, start: int, end: int) -> MrcError:
        """Return the error for a server that sends other bytes than were wanted."""
        return MrcError(
            f"{self.uri}: bytes {start} to {end - 1} were wanted, but the server sent "
            f"{response.get('ContentRange')!r}: it does not speak the protocol of S3 for ranges"
        )

    @asynccontextmanager
    async def _get(self, start: int, end: int, **condition: str) -> AsyncIterator[Any]:
        """Yield the response to a request for a range, before its body is read."""
        try:
            filesystem = self._filesystem()
            bucket, key, version_id = filesystem.split_path(self.url)
            if version_id:
                condition["VersionId"] = version_id
            response = await filesystem._call_s3(
                "get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}", **condition
            )
            async with response["Body"]:
                yield response
        except (MrcError, RetryableError, EmptyObjectError):
            raise
        except Exception as error:
            raise self._failure_of(error) from None

    def _filesystem(self) -> Any:
        """Return the file system, of which fsspec keeps one for the same options in a process."""
        try:
            import s3fs
        except ImportError:
            raise ImportError(
                f"{self.uri}: s3:// needs the package s3fs, pip install 'xarray-mrc[s3]'"
            ) from None
        options = self.options.others()
        for name in INTERNAL_OPTIONS:
            options.pop(name, None)
        timeout = self.options.timeout
        options["config_kwargs"] = {
            "connect_timeout": timeout,
            "read_timeout": timeout,
            "max_pool_connections": max(10, self.options.max_requests),
            "retries": {"max_attempts": 0},
            "user_agent_extra": "xarray-mrc",
            **(options.get("config_kwargs") or {}),
        }
        filesystem = s3fs.S3FileSystem(**options)
        # Its own, because no other has this user agent. We try again ourselves.
        filesystem.retries = 1
        return filesystem

    def _failure_of(self, error: Exception) -> Exception:
        """Return the exception that stands for one of s3fs or botocore, without its text."""
        uri, name = self.uri, type(error).__name__
        if isinstance(error, ImportError):
            return error
        response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
        if response is None and isinstance(error, FileNotFoundError):
            response = {"Error": {"Code": "NoSuchKey"}}
        if response is not None:
            return self._answered(response)
        if isinstance(error, TypeError):
            names = ", ".join(self.options.others()) or "none"
            return TypeError(f"{uri}: s3fs does not take these storage_options ({names})")
        if name in NO_CREDENTIALS:
            return PermissionError(
                f"{uri}: no credentials were found ({name}): pass storage_options={{'anon': True}} "
                f"for public data, or 'key' and 'secret'"
            )
        if name in SLOW or isinstance(error, TimeoutError):
            seconds = f"{self.options.timeout:g} s"
            return RetryableError(
                f"the server could not be reached, or sent nothing for {seconds} ({name})",
                is_slow=True,
            )
        if name == "ParamValidationError" or isinstance(error, ValueError):
            return MrcError(
                f"{uri}: this is not a valid URL of S3, expected s3://BUCKET/KEY ({name})"
            )
        return RetryableError(f"the connection failed ({name})")

    def _answered(self, response: Any) -> Exception:
        """Return the exception for a status of the server."""
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = response.get("Error", {}).get("Code", "")
        said = f"HTTP {status}, {code}" if status else code
        if status == 412 or code == "PreconditionFailed":
            return changed(self.uri, "the server does not have the version with that ETag any more")
        if status == 416 or code == "InvalidRange":
            return EmptyObjectError()
        if status == 404 or code in ("NoSuchKey", "NoSuchBucket", "404"):
            return FileNotFoundError(f"{self.uri}: the server has no such object ({said})")
        if status in (401, 403):
            return PermissionError(
                f"{self.uri}: the server refuses access ({said}): pass credentials in "
                f"storage_options=, or 'anon': True for public data"
            )
        if status in (429, 503) or code == "SlowDown":
            headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            pause = retry_after(headers.get("retry-after"))
            return RetryableError(f"the server is busy ({said})", is_busy=True, pause=pause)
        if status >= 500 or status == 408:
            return RetryableError(f"the server failed ({said})")
        return OSError(
            f"{self.uri}: the server answers {said}, expected the object: check bucket, key and "
            f"region (storage_options={{'client_kwargs': {{'region_name': ...}}}})"
        )

    @property
    def _host(self) -> str:
        """The server, if it is not that of Amazon."""
        found = self.options.others()
        nested = found.get("client_kwargs") or {}
        return str(found.get("endpoint_url") or nested.get("endpoint_url") or "")

    def _limit(self) -> Any:
        """Return the semaphore of the server, or of the bucket, which Amazon makes a host of."""
        host = self._host or self.uri.partition("://")[2].partition("/")[0]
        return limit(f"s3:{host}", self.options.max_requests)


class EmptyObjectError(Exception):
    """The server has no byte in the range, so that the object is empty or shorter than before."""


def version_of(response: Any, size: int) -> Version:
    """Return the version that a response states."""
    modified = response.get("LastModified")
    return Version(size, response.get("ETag") or "", modified.isoformat() if modified else "")
