"""`FutureMrcFile`: a file that is being opened in another thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["FutureMrcFile"]


class ResultTimeoutError(RuntimeError, TimeoutError):
    """The file was not open in time: a RuntimeError, as in mrcfile, and a TimeoutError."""


class FutureMrcFile:
    """The result of `open_async`: call `result` to get the file.

    Parameters
    ----------
    open_function : callable
        Opens the file; it is called at once in a new thread.
    args : sequence
        Its arguments.
    kwargs : mapping
        Its keyword arguments.

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
        from concurrent.futures import Future  # not needed unless files are opened in threads

        self._future: Future[Any] = Future()
        self._thread = Thread(target=self._run, args=(open_function, args, kwargs or {}))
        self._thread.start()

    def _run(
        self, open_function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Open the file, and store it or the error."""
        try:
            result = open_function(*args, **kwargs)
        except BaseException as error:
            self._future.set_exception(error)
        else:
            self._future.set_result(result)

    def cancel(self) -> bool:
        """Return False: opening cannot be stopped."""
        return False

    def cancelled(self) -> bool:
        """Return False."""
        return False

    def running(self) -> bool:
        """Return True while the file is being opened."""
        return not self.done()

    def done(self) -> bool:
        """Return True if the file is open, or opening failed."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> Any:
        """Return the file, or raise the error of opening it; wait until one is known.

        Parameters
        ----------
        timeout : float, optional
            Maximum time to wait, in seconds.

        Returns
        -------
        MrcFile
        """
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self._future.result()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error of opening the file, or None; wait until it is known.

        Parameters
        ----------
        timeout : float, optional
            Maximum time to wait, in seconds.

        Returns
        -------
        exception or None
        """
        try:
            return self._future.exception(timeout)
        except TimeoutError:
            raise ResultTimeoutError("Timed out waiting for result") from None

    def add_done_callback(self, fn: Callable[..., Any]) -> NoReturn:
        """Raise NotImplementedError, as in mrcfile."""
        raise NotImplementedError("Callbacks are not supported: call result() instead")
