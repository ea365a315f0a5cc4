"""ResourceQuotas: nothing is created that makes a namespace use more than it may.

What is used is counted from the stored objects each time, under a lock of the namespace, so two writes of this server
never share the last place; objects are read once per revision. What was created is counted in the quota's status at
once, as upstream's controller of quotas expects it: that one looks only when something goes, and every five minutes.

Source: plugin/pkg/admission/resourcequota/{admission,controller}.go.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import cast

from netpod.api import podamounts, quantity, registry, structs, usage
from netpod.api.meta import Object
from netpod.api.pod import Pod
from netpod.api.policy import ResourceQuota
from netpod.api.service import Service
from netpod.apiserver import objects, storage
from netpod.apiserver.storage import Storage
from netpod.errors import Conflict, NotFound
from netpod.store.store import RECENT, KeyValue, Revision

QUOTAS = registry.of(ResourceQuota)
Amounts = Mapping[str, Fraction]
ATTEMPTS = 5


class Quotas:
    """Judges the writes of one server.

    Args:
        store: Where quotas and objects are.
        now: The clock.
    """

    def __init__(self, store: Storage, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._locks: dict[str, asyncio.Lock] = {}
        self._known: dict[str, tuple[Revision, Object]] = {}

    async def concern(
        self, resource: registry.Resource, new: Object, old: Object | None = None
    ) -> bool:
        """Whether a write may be too much; the arguments are those of `charge`."""
        if not resource.namespaced or (old is not None and not isinstance(new, Service)):
            return False
        page = await self._store.list(
            QUOTAS, new.metadata.namespace, limit=1, not_older_than=RECENT
        )
        return bool(page.items)

    @contextlib.asynccontextmanager
    async def charge(
        self,
        resource: registry.Resource,
        new: Object,
        old: Object | None = None,
        *,
        dry_run: bool = False,
    ) -> AsyncIterator[None]:
        """Have a write under way within what its namespace may use.

        Args:
            resource: Of the object.
            new: The object as it will be.
            old: What it replaces; only Services are judged again.
            dry_run: Whether it is not written in the end, and so not counted.

        Raises:
            Forbidden: it would be too much.
        """
        if not await self.concern(resource, new, old):
            yield
            return
        namespace = new.metadata.namespace
        lock = self._locks.setdefault(namespace, asyncio.Lock())
        async with lock:
            page = await self._store.list(QUOTAS, namespace)
            counts: dict[str, Amounts] = {}
            for kv in page.items:
                quota = cast(ResourceQuota, objects.unpack(QUOTAS, kv))
                if usage.concerns(quota, new):
                    counts[quota.metadata.name] = await self._check(quota, resource, new, old)
            yield
            for name, amounts in counts.items():
                if amounts and not dry_run:
                    await self._count(namespace, name, amounts)

    async def _count(self, namespace: str, name: str, amounts: Amounts) -> None:
        """Say in a quota's status what is used now; what its controller has not looked at yet stays unsaid."""
        for _ in range(ATTEMPTS):
            kv = await self._store.find(QUOTAS, namespace, name)
            if kv is None:
                return
            quota = cast(ResourceQuota, objects.unpack(QUOTAS, kv))
            before = quota.status.used
            hard = quota.spec.hard
            told = {k: usage.written(k, v, hard) for k, v in amounts.items() if k in before}
            used = {**before, **told}
            if used == before:
                return
            status = structs.replace(quota.status, used=used)
            try:
                await self._store.replace(QUOTAS, kv, structs.replace(quota, status=status))
                return
            except (Conflict, NotFound):
                continue

    async def _check(
        self, quota: ResourceQuota, resource: registry.Resource, new: Object, old: Object | None
    ) -> Amounts:
        """What of a quota is used with the write; nothing where it takes none of it."""
        now = self._now()
        hard = podamounts.exact(quota.spec.hard)
        name = quota.metadata.name
        if old is None and isinstance(new, Pod):
            lacking = usage.missing(new, hard)
            if lacking:
                raise self._refused(resource, new, f"failed quota: {name}: must specify {lacking}")
        asked = {k: v for k, v in usage.of(resource, new, now).items() if k in hard}
        if old is not None:
            before = usage.of(resource, old, now)
            asked = {k: v - before.get(k, Fraction(0)) for k, v in asked.items()}
        asked = {k: v for k, v in asked.items() if v > 0}
        if not asked:
            return {}
        used = await self._used(quota, resource, now)
        over = [k for k, v in asked.items() if used.get(k, Fraction(0)) + v > hard[k]]
        if not over:
            return {k: used.get(k, Fraction(0)) + v for k, v in asked.items()}
        over.sort()

        def told(amounts: Amounts) -> str:
            return ",".join(
                f"{k}={usage.written(k, amounts.get(k, Fraction(0)), quota.spec.hard)}"
                for k in over
            )

        limited = ",".join(f"{k}={quantity.canonical(quota.spec.hard[k])}" for k in over)
        raise self._refused(
            resource,
            new,
            f"exceeded quota: {name}, requested: {told(asked)}, used: {told(used)}, limited: {limited}",
        )

    async def _used(
        self, quota: ResourceQuota, resource: registry.Resource, now: datetime
    ) -> dict[str, Fraction]:
        """What all objects of one kind use of a quota."""
        page = await self._store.list(resource, quota.metadata.namespace)
        found = self._unpacked(resource, page.items)
        shares = (usage.of(resource, obj, now) for obj in found if usage.concerns(quota, obj))
        return usage.add(shares)

    def _unpacked(self, resource: registry.Resource, items: Sequence[KeyValue]) -> list[Object]:
        if len(self._known) > 4 * len(items) + 1000:
            self._known.clear()
        found = []
        for kv in items:
            known = self._known.get(kv.key)
            if known is None or known[0] != kv.mod_revision:
                known = (kv.mod_revision, objects.unpack(resource, kv))
                self._known[kv.key] = known
            found.append(known[1])
        return found

    def _refused(self, resource: registry.Resource, obj: Object, cause: str) -> Exception:
        return storage.forbidden(resource, obj.metadata.name, cause)
