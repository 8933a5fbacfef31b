"""`FutureMrcFile`: a file that is being opened in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from threading import Thread
from typing import Any, NoReturn

__all__ = ["FutureMrcFile"]


class ResultTimeoutError(RuntimeError, TimeoutError):
    """The file was not open in time; a RuntimeError for mrcfile, a TimeoutError for Python."""


class FutureMrcFile:
    """What `open_async` gives: ask it later for the file.

    Parameters
    ----------
    open_function : callable
        What opens the file; it begins at once.
    args : sequence
        Its arguments.
    kwargs : mapping
        Its named arguments.

    Examples
    --------
    >>> FutureMrcFile(max, (1, 2)).result()
    2
    """

    def __init__(
        self,
        open_function: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self._future: Future[Any] = Future()
        self._thread = Thread(target=self._run, args=(open_function, args, kwargs or {}))
        self._thread.start()

    def _run(
        self, open_function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Open the file, and keep it or the error."""
        try:
            result = open_function(*args, **kwargs)
        except BaseException as error:
            self._future.set_exception(error)
        else:
            self._future.set_result(result)

    def cancel(self) -> bool:
        """Give False: what began can't be stopped."""
        return False

    def cancelled(self) -> bool:
        """Give False."""
        return False

    def running(self) -> bool:
        """Whether the file is still being opened."""
        return not self.done()

    def done(self) -> bool:
        """Whether it is open, or failed to open."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the file, and raise what its opening raised.

        Parameters
        ----------
        timeout : float, optional
            Most seconds to wait.

        Returns
        -------
        MrcFile
        """
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self._future.result()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait until the file is open, and give the error if it can't be opened.

        Parameters
        ----------
        timeout : float, optional
            Most seconds to wait.

        Returns
        -------
        exception or None
        """
        try:
            return self._future.exception(timeout)
        except NotYetError:
            raise ResultTimeoutError("Timed out waiting for result") from None

    def add_done_callback(self, fn: Callable[..., Any]) -> NoReturn:
        """Raise NotImplementedError, as it is in mrcfile."""
        raise NotImplementedError("Callbacks are not supported: ask for result() instead")
