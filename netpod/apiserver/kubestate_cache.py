"""/metrics/kube-state between two questions: lines are made of an object once, until it changes.

A cluster of a thousand pods is fifty thousand lines; most objects are as they were a quarter of a minute ago. Nothing is
made before somebody asks.
"""

import asyncio
from collections.abc import Sequence

import orjson

from netpod.api import registry
from netpod.apiserver import kubestate
from netpod.apiserver.kubestate import Kind
from netpod.apiserver.storage import Storage
from netpod.store.store import RECENT, KeyValue, Revision

Lines = tuple[bytes, ...]


class KubeState:
    """The metrics of what is stored.

    Args:
        storage: Whose objects.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: dict[str, dict[str, tuple[Revision, Lines]]] = {}
        self._turn = asyncio.Lock()

    async def text(self) -> bytes:
        """All families of all kinds in the text format, families without samples too."""
        from netpod.apiserver.kubestate_kinds import KINDS

        stored = []
        async with self._turn:
            for kind in KINDS:
                resource = registry.by_plural(kind.group, kind.version, kind.plural)
                assert resource is not None, "the kinds are of the registry"
                stored.append(
                    (kind, (await self._storage.list(resource, not_older_than=RECENT)).items)
                )
            # The first question of a large cluster takes long: others are answered meanwhile.
            return await asyncio.to_thread(self._made, stored)

    def _made(self, stored: Sequence[tuple[Kind, Sequence[KeyValue]]]) -> bytes:
        parts: list[bytes] = []
        for kind, found in stored:
            known, self._known[kind.plural] = self._known.get(kind.plural, {}), {}
            kept = self._known[kind.plural]
            for kv in found:
                before = known.get(kv.key)
                if before is None or before[0] != kv.mod_revision:
                    obj = orjson.loads(kv.value)
                    obj["metadata"]["resourceVersion"] = kv.mod_revision
                    before = (kv.mod_revision, kubestate.lines(kind, obj))
                kept[kv.key] = before
            columns = zip(*(lines for _, lines in kept.values()), strict=True) if kept else ()
            for family, column in zip(
                kind.families, columns or [()] * len(kind.families), strict=True
            ):
                parts += (kubestate.header(family), *column)
        return b"".join(parts)
