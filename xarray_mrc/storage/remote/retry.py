"""When a request is sent again: at once on a fresh connection, then after growing pauses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

__all__ = ["RetryableError", "retry_after", "with_retries"]

T = TypeVar("T")

# Seconds before each further attempt. A connection that the server closed while it was idle is the
# usual reason for the first one.
PAUSES = (0.0, 1.0, 2.0, 4.0)
MIN_BUSY_PAUSE = 1.0
# A server that does not answer costs the whole timeout each time, so there is one more attempt.
MAX_SLOW_ATTEMPTS = 2
MAX_PAUSE = (
    60.0  # a server that asks for more is an error, so that nobody waits without knowing why
)


class RetryableError(Exception):
    """An attempt failed for a reason that may have passed at the next one.

    Parameters
    ----------
    reason : str
        What happened, without a URL.
    is_slow : bool
        Whether the attempt failed after a timeout, or no connection was made.
    is_busy : bool
        Whether the server asked for fewer requests.
    pause : float, optional
        Seconds that the server asked to wait.
    advice : str
        What to do if no attempt succeeds.
    """

    def __init__(
        self,
        reason: str,
        *,
        is_slow: bool = False,
        is_busy: bool = False,
        pause: float = 0.0,
        advice: str = "try again later, or download the file once with local_copy=FOLDER",
    ) -> None:
        super().__init__(reason)
        self.is_slow, self.is_busy, self.pause = is_slow, is_busy, pause
        self.advice = advice


async def with_retries(uri: str, attempt: Callable[[bool], Awaitable[T]]) -> T:
    """Call `attempt` until it succeeds, a few times at most.

    Parameters
    ----------
    uri : str
        Name of the file for the error.
    attempt : callable
        Takes whether a fresh connection is wanted. It raises RetryableError.

    Raises
    ------
    OSError
        No attempt succeeded. An error that is not a RetryableError is raised at once.
    """
    number = 0
    while True:
        try:
            return await attempt(number > 0)
        except RetryableError as error:
            failure = error
        number += 1
        if number > (MAX_SLOW_ATTEMPTS - 1 if failure.is_slow else len(PAUSES)):
            raise OSError(f"{uri}: {failure}, also at attempt {number}: {failure.advice}")
        if failure.pause > MAX_PAUSE:
            raise OSError(
                f"{uri}: {failure}, and the server asks to wait {failure.pause:.0f} s: try again "
                f"later, or with storage_options={{'max_requests': 2}}"
            )
        pause = max(PAUSES[number - 1], MIN_BUSY_PAUSE if failure.is_busy else 0.0)
        await asyncio.sleep(failure.pause or pause)


def retry_after(value: str | None) -> float:
    """Return the seconds that a Retry-After header asks for, a number or a date; 0 if it has none.

    Examples
    --------
    >>> retry_after("120"), retry_after("soon")
    (120.0, 0.0)
    """
    if value is None:
        return 0.0
    if value.strip().isdecimal():
        return float(value)
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
