"""The present: every key that exists, in memory and in order, for whoever may not ask a disk or a network each time."""

import bisect
from collections.abc import Iterable

from netpod.store.store import KeyValue, Page, Revision


class Present:
    """Keys with their last write. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._state: dict[str, KeyValue] = {}
        self._keys: list[str] = []

    def replace(self, items: Iterable[KeyValue]) -> None:
        """Forget all, and take these."""
        self._state = {kv.key: kv for kv in items}
        self._keys = sorted(self._state)

    def get(self, key: str) -> KeyValue | None:
        """The key, or None."""
        return self._state.get(key)

    def put(self, kv: KeyValue) -> KeyValue | None:
        """Write a key; returns what it was before."""
        before = self._state.get(kv.key)
        if before is None:
            bisect.insort(self._keys, kv.key)
        self._state[kv.key] = kv
        return before

    def remove(self, key: str) -> KeyValue | None:
        """Delete a key; returns what it was, None when it was not there."""
        before = self._state.pop(key, None)
        if before is not None:
            del self._keys[bisect.bisect_left(self._keys, key)]
        return before

    def page(self, prefix: str, limit: int, after: str, revision: Revision) -> Page:
        """Keys that begin with `prefix` and come after `after`, at most `limit` of them, 0 for all."""
        keys, state = self._keys, self._state
        start = bisect.bisect_left(keys, prefix)
        if start == len(keys) or not keys[start].startswith(prefix):
            return Page((), revision, 0)  # the usual answer to admission's questions
        if after >= prefix:
            start = max(start, bisect.bisect_right(keys, after))
        end = bisect.bisect_left(keys, end_of(prefix), lo=start)
        stop = min(end, start + limit) if limit else end
        return Page([state[key] for key in keys[start:stop]], revision, end - stop)


def end_of(prefix: str) -> str:
    """The first string after every string that begins with `prefix`, in SQLite's byte order and in Python's."""
    return prefix + "\U0010ffff"
