"""The interface between the API server and whatever remembers the cluster.

The words are etcd's. Every write gets the next revision of one counter for the whole store; a key's
`mod_revision` is the revision of its last write, and naming it in the next write is the compare-and-swap.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple, NewType, Protocol

Revision = NewType("Revision", int)
"""Counts every write of the store, from 2 on; 1 is the empty store, 0 means "not given"."""

RECENT = Revision(0)
"""As `not_older_than`: whatever this process knows will do."""

EMPTY = Revision(1)
"""Revision of a store nobody has written to; never 0, which Kubernetes gives a meaning of its own."""


class KeyValue(NamedTuple):
    """One key as it was at one revision; a tuple, which is made four times as fast as a frozen dataclass.

    `create_revision` is the revision that created this incarnation of the key, `mod_revision` the last write.
    """

    key: str
    value: bytes
    create_revision: Revision
    mod_revision: Revision


class EventType(StrEnum):
    """What a write did to its key."""

    PUT = "PUT"
    DELETE = "DELETE"


class Event(NamedTuple):
    """One write, as every watcher sees it.

    `kv` is the key after the write; for a DELETE its value is the last one and its `mod_revision` the
    deletion's. `previous` is the key before the write, None when the write created it.
    """

    type: EventType
    kv: KeyValue
    previous: KeyValue | None


Take = Callable[[tuple[Event, ...]], bool]
"""Takes events of one commit over, or refuses; see `Watch.divert`."""


class Page(NamedTuple):
    """Part of a listing: `items` in key order, all as of `revision`; `remaining` more keys follow the last."""

    items: Sequence[KeyValue]
    revision: Revision
    remaining: int


class Watch(Protocol):
    """A stream of the events below one prefix: each once, in order, without gaps, or Expired.

    `anext` and `batch` may be cancelled and called again; nothing is lost.
    """

    @property
    def revision(self) -> Revision:
        """Every event up to this revision has been handed out; the place to resume from."""
        ...

    def __aiter__(self) -> AsyncIterator[Event]: ...

    async def __anext__(self) -> Event: ...

    async def batch(self) -> Sequence[Event]:
        """Wait for events and return all that are there; none only after `poke`.

        Raises:
            Expired: this watcher fell behind and was dropped, or its revision is compacted; list again.
            StopAsyncIteration: the watch or the store was closed.
        """
        ...

    def divert(self, take: Take) -> None:
        """Offer events to `take` as soon as they come, while somebody waits in `batch` and nothing else waits there.

        A thousand watchers need not be woken for what a function can pass on. What it refuses, by False or by
        failing, comes out of `batch`. It must not wait.
        """
        ...

    def poke(self) -> None:
        """Have whoever waits in `batch` return, empty-handed if nothing is there: a timer costs less than a timeout
        around each wait."""
        ...

    def close(self) -> None:
        """End the stream; repeating it changes nothing."""
        ...


class Store(Protocol):
    """A revisioned key-value store. Whatever a write method returned survives any crash.

    Attributes:
        shared: Whether other processes may write it too.
    """

    shared: bool

    @property
    def revision(self) -> Revision:
        """Revision of the last durable write."""
        ...

    async def get(self, key: str, *, not_older_than: Revision | None = None) -> KeyValue | None:
        """The key as it is now, or None.

        Args:
            key: Whole.
            not_older_than: The state at this revision will do, or any later one. It has what this process itself wrote
                there, and costs no question to others. None is the newest.
        """
        ...

    async def list(
        self,
        prefix: str,
        *,
        revision: Revision | None = None,
        not_older_than: Revision | None = None,
        limit: int = 0,
        after: str = "",
    ) -> Page:
        """Keys that begin with `prefix`, in key order.

        Args:
            prefix: Usually ends with a slash.
            revision: State to list; None is the newest.
            not_older_than: As for `get`, when no `revision` is given.
            limit: At most that many items, 0 for all.
            after: Only keys greater than this one, to continue a listing.

        Raises:
            Expired: the revision is compacted, or later than the store's.
        """
        ...

    async def create(self, key: str, value: bytes) -> KeyValue:
        """Write a key that does not exist.

        Raises:
            AlreadyExists: it does.
            Unavailable: the write could not be made durable; nothing was written.
        """
        ...

    async def update(self, key: str, value: bytes, expected_revision: Revision) -> KeyValue:
        """Replace a key whose `mod_revision` is still `expected_revision`.

        Raises:
            NotFound: the key does not exist.
            Conflict: it was written since.
            Unavailable: the write could not be made durable; nothing was written.
        """
        ...

    async def delete(self, key: str, expected_revision: Revision) -> KeyValue:
        """Remove a key whose `mod_revision` is still `expected_revision`.

        Returns:
            The last value, with the deletion's revision as `mod_revision`.

        Raises:
            NotFound, Conflict, Unavailable: as for `update`.
        """
        ...

    async def watch(self, prefix: str, since_revision: Revision) -> Watch:
        """Every event below `prefix` with a revision greater than `since_revision`, past and to come.

        Raises:
            Expired: events after `since_revision` are compacted away, or it is later than the store's.
        """
        ...

    def untouched(self, prefixes: Iterable[str], since: Revision) -> bool:
        """Whether what was read below these prefixes at revision `since`, or found absent there, is so still.

        False also where the store cannot know without asking, or where only a neighbour changed.
        """
        ...

    async def compact(self, revision: Revision) -> None:
        """Forget the history up to `revision`: older listings and watches get Expired from now on."""
        ...

    async def close(self) -> None:
        """End all watches and wait until everything is on disk."""
        ...
