"""What one client, or all together, may ask of the server at once; who is too much is told when to come back.

Source: k8s.io/apiserver pkg/server/filters/maxinflight.go (400 reading, 200 writing; system:masters is exempt).
"""

import contextlib
from collections import Counter
from collections.abc import Iterator

from netpod import errors
from netpod.apiserver.authentication import MASTERS, User

RETRY_AFTER = 1
HEADER_LIMIT = 64 * 1024
"""Bytes of the request line, and of one header field: a token or selector fits, a flood does not."""

_READING = ("get", "list")


class Limits:
    """Counts what is under way.

    Args:
        reading: Most gets and lists at once.
        writing: Most other requests at once.
        watches: Most watches of one user.
    """

    def __init__(self, *, reading: int, writing: int, watches: int) -> None:
        self._most = {True: reading, False: writing}
        self._now = {True: 0, False: 0}
        self._most_watches = watches
        self._watches: Counter[str] = Counter()

    @property
    def now(self) -> tuple[int, int]:
        """Requests under way: reading, writing."""
        return self._now[True], self._now[False]

    def flight(self, user: User, verb: str, *, exempt: bool = False) -> "Flight":
        """Hold a place while a request is answered; whoever is `exempt` gets one always.

        Raises:
            TooManyRequests: none is free.
        """
        kind = verb in _READING
        if self._now[kind] >= self._most[kind] and not exempt and MASTERS not in user.groups:
            raise errors.TooManyRequests(
                "too many requests, please try again later.",
                details={"retryAfterSeconds": RETRY_AFTER},
            )
        return Flight(self._now, kind)

    @contextlib.contextmanager
    def watching(self, user: User, *, exempt: bool = False) -> Iterator[None]:
        """Hold a place while a user watches; whoever is `exempt` gets one always.

        Raises:
            TooManyRequests: the user has as many watches as one may have.
        """
        if self._watches[user.name] >= self._most_watches and not exempt:
            raise errors.TooManyRequests(
                f'user "{user.name}" has {self._watches[user.name]} watches, the most one may have',
                details={"retryAfterSeconds": RETRY_AFTER},
            )
        self._watches[user.name] += 1
        try:
            yield
        finally:
            self._watches[user.name] -= 1
            if not self._watches[user.name]:
                del self._watches[user.name]


class Flight:
    """A place among the requests under way; a class, because a generator takes four times as long."""

    __slots__ = ("_kind", "_now")

    def __init__(self, now: dict[bool, int], kind: bool) -> None:
        self._now = now
        self._kind = kind

    def __enter__(self) -> None:
        self._now[self._kind] += 1

    def __exit__(self, *_: object) -> None:
        self._now[self._kind] -= 1
