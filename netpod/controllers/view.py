"""What a controller may believe: the informer's cache, with this process's own writes laid over it.

A watch lags behind a write by a moment. Until the watch shows what we wrote, the view does, so that a loop that
runs again at once does not repeat itself. The newer resourceVersion wins. A view also answers lookups: by
owner, by label, by node; every controller of the process shares one view per kind.

Source: client-go tools/cache/mutation_cache.go, which compares resource versions for the same purpose.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from netpod.api import meta
from netpod.api.meta import Key, Object
from netpod.client.informer import Informer

T = TypeVar("T", bound=Object)
Keys = Callable[[T], Iterable[Hashable]]
Handler = Callable[[T | None, T | None], None]


def revision(obj: Object) -> int:
    """Return the resourceVersion as a number, 0 when there is none."""
    text = obj.metadata.resource_version
    return int(text) if text.isdigit() else 0


class View(Generic[T]):
    """All objects of one kind, by key and by any number of indexes."""

    def __init__(self, informer: Informer[T]) -> None:
        self._informer = informer
        self._objects: dict[Key, T] = {}
        self._indexes: dict[str, tuple[Keys[T], dict[Hashable, dict[Key, T]]]] = {}
        self._handlers: list[Handler[T]] = []
        self._unseen: dict[Key, int] = {}
        self._removed: set[str] = set()
        informer.subscribe(self._observe)

    async def wait_synced(self) -> None:
        """Return once the first list is in the view."""
        await self._informer.wait_synced()

    def index(self, name: str, keys: Keys[T]) -> None:
        """Make `by(name, value)` answer with the objects for which `keys` gives that value.

        Asking for an index a second time keeps the first one: the name says what it means.
        """
        if name in self._indexes:
            return
        self._indexes[name] = (keys, {})
        for key, obj in self._objects.items():
            self._put_index(name, key, None, obj)

    def subscribe(self, handler: Handler[T]) -> None:
        """Call `handler(old, new)` for each change the watch shows, after the view has taken it.

        It is called at once with (None, obj) for each object that is there already.
        """
        self._handlers.append(handler)
        for obj in self.values():
            handler(None, obj)

    def get(self, key: Key) -> T | None:
        """Return one object."""
        return self._objects.get(key)

    def values(self) -> list[T]:
        """Return all objects."""
        return list(self._objects.values())

    def by(self, name: str, value: Hashable) -> list[T]:
        """Return the objects an index files under a value."""
        return list(self._indexes[name][1].get(value, {}).values())

    def count(self, name: str, value: Hashable) -> int:
        """Return how many objects an index files under a value."""
        return len(self._indexes[name][1].get(value, {}))

    def wrote(self, obj: T) -> T:
        """Lay an object the API server has just answered with over the cache; returns it."""
        key = meta.key_of(obj)
        known = self._objects.get(key)
        if obj.metadata.uid in self._removed:
            return obj
        if known is None or revision(obj) > revision(known):
            self._put(key, obj)
            self._unseen[key] = revision(obj)
        return obj

    def removed(self, obj: T) -> None:
        """Hide an object that was deleted for good, until the watch says so too."""
        key = meta.key_of(obj)
        known = self._objects.get(key)
        if known is not None and known.metadata.uid == obj.metadata.uid:
            self._removed.add(obj.metadata.uid)
            self._put(key, None)

    def _observe(self, old: T | None, new: T | None) -> None:
        """Take a change of the watch, unless a write of ours is newer."""
        shown = new if new is not None else old
        assert shown is not None, "an informer reports a change of something"
        key = meta.key_of(shown)
        known = self._objects.get(key)
        if new is None:
            self._removed.discard(shown.metadata.uid)
            if known is not None and known.metadata.uid == shown.metadata.uid:
                self._put(key, None)
                self._unseen.pop(key, None)
        elif new.metadata.uid not in self._removed and self._unseen.get(key, 0) <= revision(new):
            self._put(key, new)
            self._unseen.pop(key, None)
        self._forget_ghosts(revision(shown))
        for handler in self._handlers:
            handler(old, new)

    def _forget_ghosts(self, passed: int) -> None:
        """Drop what we wrote that the watch has passed without showing: it was deleted meanwhile.

        A watch that had to list again reports the whole list at once, in any order; what is dropped
        here and still in that list comes back in the same turn of the loop.
        """
        for key in [key for key, wrote in self._unseen.items() if wrote < passed]:
            del self._unseen[key]
            cached = self._informer.get(key.namespace, key.name)
            self._put(key, cached)

    def _put(self, key: Key, new: T | None) -> None:
        old = self._objects.get(key)
        if new is None:
            self._objects.pop(key, None)
        else:
            self._objects[key] = new
        for name in self._indexes:
            self._put_index(name, key, old, new)

    def _put_index(self, name: str, key: Key, old: T | None, new: T | None) -> None:
        keys, filed = self._indexes[name]
        before = set(keys(old)) if old is not None else set()
        after = set(keys(new)) if new is not None else set()
        for value in before - after:
            group = filed[value]
            group.pop(key, None)
            if not group:
                del filed[value]
        if new is not None:
            for value in after:
                filed.setdefault(value, {})[key] = new
