"""Wait for facts, never for time."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE_SECONDS = 0.02


def until(fact: Callable[[], T | None], what: str, timeout: float = 10.0) -> T:
    """Return the first true value of `fact()`; fail the test when there is none within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = fact()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}; last seen {value!r}"
        pause()


def pause(seconds: float = PAUSE_SECONDS) -> None:
    """Leave the processor to those we wait for."""
    threading.Event().wait(seconds)
