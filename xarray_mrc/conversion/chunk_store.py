"""A store of Zarr that takes chunks, and can be closed while Zarr still works on some.

It loads zarr, so it is imported where it is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from threading import Condition
from typing import Any

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype

from xarray_mrc.conversion.group_target import Put

__all__ = ["ChunkStore"]


class ChunkStore(Store):
    """A store that hands chunks to a function, and has nothing to read.

    Zarr goes on with the other chunks after an error in one: its default pipeline in tasks of its
    event loop, its fused pipeline in threads. Both write through this store, which takes nothing
    more once it is closed.

    Parameters
    ----------
    put : callable
        Takes the key and the bytes of a chunk.
    """

    supports_writes = True
    supports_deletes = True
    supports_partial_writes = False
    supports_listing = False

    def __init__(self, put: Put) -> None:
        super().__init__(read_only=False)
        self._put = put
        self._changed = Condition()
        self._writing = 0
        self._is_closed = False

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = Store.__hash__

    def close(self) -> None:
        """Refuse further chunks, and wait for those that are being written."""
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._writing)
        super().close()

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write a chunk."""
        with self._changed:
            if self._is_closed:
                raise OSError(f"{key}: another chunk could not be written, so this one is not")
            self._writing += 1
        try:
            self._put(key, value.as_numpy_array())
        finally:
            with self._changed:
                self._writing -= 1
                self._changed.notify_all()

    def get_sync(self, key: str, **_: Any) -> Buffer | None:
        """Return None: a region holds whole chunks, so none has to be read and changed."""
        return None

    def delete_sync(self, key: str) -> None:
        """Do nothing: a chunk that holds the fill value only was not written."""

    async def set(self, key: str, value: Buffer, byte_range: Any = None) -> None:
        """Write a chunk on another thread."""
        await asyncio.to_thread(self.set_sync, key, value)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return None, as `get_sync` does."""
        return None

    async def delete(self, key: str) -> None:
        """Do nothing, as `delete_sync`."""

    async def exists(self, key: str) -> bool:
        """Return False, as nothing can be read."""
        return False

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Return None for each."""
        return [None for _ in key_ranges]

    async def set_partial_values(self, key_start_values: Any) -> None:
        """Raise NotImplementedError; zarr before 3.1 demands the method."""
        raise NotImplementedError

    def list(self) -> AsyncIterator[str]:
        """Raise NotImplementedError."""
        raise NotImplementedError

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Raise NotImplementedError."""
        raise NotImplementedError

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Raise NotImplementedError."""
        raise NotImplementedError
