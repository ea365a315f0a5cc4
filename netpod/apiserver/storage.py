"""API objects over the store, with upstream's error words.

Below this line keys and revisions, above it objects and resourceVersions. A dry run does everything but write.
"""

from collections.abc import Iterable

from netpod import errors
from netpod.api import registry
from netpod.api.meta import Object
from netpod.apiserver import objects
from netpod.store.store import KeyValue, Page, Revision, Store, Watch

UNSTORED = Revision(0)
"""Revision of what a dry run would have created: it has none, and shows none."""

MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def details(resource: registry.Resource, name: str) -> dict[str, object]:
    """`status.details` of an error about one object."""
    found: dict[str, object] = {"kind": resource.plural}
    if name:
        found["name"] = name
    if resource.group:
        found["group"] = resource.group
    return found


def not_found(resource: registry.Resource, name: str) -> errors.NotFound:
    """`pods "x" not found`."""
    return errors.NotFound(
        f'{resource.qualified} "{name}" not found', details=details(resource, name)
    )


def conflict(resource: registry.Resource, name: str, cause: str) -> errors.Conflict:
    """`Operation cannot be fulfilled on pods "x": ...`."""
    return errors.Conflict(
        f'Operation cannot be fulfilled on {resource.qualified} "{name}": {cause}',
        details=details(resource, name),
    )


def forbidden(resource: registry.Resource, name: str, cause: str) -> errors.Forbidden:
    """`pods "x" is forbidden: ...`."""
    subject = f'{resource.qualified} "{name}"' if name else resource.qualified
    return errors.Forbidden(f"{subject} is forbidden: {cause}", details=details(resource, name))


class Storage:
    """Create, read, replace and delete API objects. Raises ApiError with upstream's messages.

    Attributes:
        toleration_seconds: What admission lets a pod stay on a node that stopped answering.
    """

    def __init__(self, store: Store, *, toleration_seconds: int = 300) -> None:
        self._store = store
        self.toleration_seconds = toleration_seconds

    @property
    def revision(self) -> Revision:
        """Revision of the newest state."""
        return self._store.revision

    async def refresh(self) -> None:
        """Hear of what other servers have written until now."""
        await self._store.get(objects.ROOT)

    async def find(
        self,
        resource: registry.Resource,
        namespace: str,
        name: str,
        *,
        not_older_than: Revision | None = None,
    ) -> KeyValue | None:
        """The stored object, or None.

        Args:
            resource: Its kind.
            namespace: Its own, "" for a kind without.
            name: Its own.
            not_older_than: See `Store.get`. RECENT is as this server knows it, like upstream's listers: perhaps
                without what another server changed just now. What is not there then is asked for.
        """
        key = objects.key(resource, namespace, name)
        kv = await self._store.get(key, not_older_than=not_older_than)
        if kv is None and not_older_than is not None:
            return await self._store.get(key)
        return kv

    async def get(
        self,
        resource: registry.Resource,
        namespace: str,
        name: str,
        *,
        not_older_than: Revision | None = None,
    ) -> KeyValue:
        """The stored object; see `find`.

        Raises:
            NotFound: there is none.
        """
        kv = await self.find(resource, namespace, name, not_older_than=not_older_than)
        if kv is None:
            raise not_found(resource, name)
        return kv

    async def list(
        self,
        resource: registry.Resource,
        namespace: str = "",
        *,
        revision: Revision | None = None,
        not_older_than: Revision | None = None,
        limit: int = 0,
        after: str = "",
    ) -> Page:
        """Objects of one or all namespaces; see `Store.list`."""
        return await self._store.list(
            objects.prefix(resource, namespace),
            revision=revision,
            not_older_than=not_older_than,
            limit=limit,
            after=after,
        )

    async def watch(self, resource: registry.Resource, namespace: str, since: Revision) -> Watch:
        """Events of one or all namespaces; see `Store.watch`."""
        return await self._store.watch(objects.prefix(resource, namespace), since)

    def untouched(self, prefixes: Iterable[str], since: Revision) -> bool:
        """Whether nothing near these prefixes changed; see `Store.untouched`."""
        return self._store.untouched(prefixes, since)

    async def create(
        self, resource: registry.Resource, obj: Object, *, dry_run: bool = False
    ) -> KeyValue:
        """Store a new object.

        Raises:
            AlreadyExists: there is one of that name.
        """
        name, namespace = obj.metadata.name, obj.metadata.namespace
        return await self.put(
            resource, namespace, name, objects.pack(resource, obj), dry_run=dry_run
        )

    async def put(
        self,
        resource: registry.Resource,
        namespace: str,
        name: str,
        value: bytes,
        *,
        dry_run: bool = False,
    ) -> KeyValue:
        """Store a new object whose text is made already; see `create`."""
        key = objects.key(resource, namespace, name)
        try:
            if not dry_run:
                return await self._store.create(key, value)
            if await self._store.get(key) is None:
                return KeyValue(key, value, UNSTORED, UNSTORED)
        except errors.AlreadyExists:
            pass
        message = f'{resource.qualified} "{name}" already exists'
        found = await self._store.get(key)
        if found is not None and objects.parsed(found)["metadata"].get("deletionTimestamp"):
            message = f"object is being deleted: {message}"
        raise errors.AlreadyExists(message, details=details(resource, name))

    async def replace(
        self, resource: registry.Resource, old: KeyValue, obj: Object, *, dry_run: bool = False
    ) -> KeyValue:
        """Store a newer version of `old`; the same value again keeps its revision.

        Raises:
            Conflict: `old` is no longer what is stored.
            NotFound: it was deleted meanwhile.
        """
        value = objects.pack(resource, obj)
        if value == old.value:
            return old
        if dry_run:
            return old._replace(value=value)
        try:
            return await self._store.update(old.key, value, old.mod_revision)
        except errors.Conflict as error:
            raise conflict(resource, obj.metadata.name, MODIFIED) from error
        except errors.NotFound as error:
            raise not_found(resource, obj.metadata.name) from error

    async def delete(
        self, resource: registry.Resource, old: KeyValue, *, dry_run: bool = False
    ) -> KeyValue:
        """Remove `old` from the store.

        Raises:
            Conflict, NotFound: as for `replace`.
        """
        if dry_run:
            return old
        name = old.key.rpartition("/")[2]
        try:
            return await self._store.delete(old.key, old.mod_revision)
        except errors.Conflict as error:
            raise conflict(resource, name, MODIFIED) from error
        except errors.NotFound as error:
            raise not_found(resource, name) from error
