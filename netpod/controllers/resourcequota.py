"""ResourceQuota controller: a quota's status says what holds and what is used.

The API server refuses what would be too much by itself; this is what people read.

Source: kubernetes pkg/controller/resourcequota/resource_quota_controller.go.
"""

import dataclasses
import logging
from datetime import timedelta
from typing import Any

from netpod.api import meta, podamounts, quantity, registry, usage
from netpod.api.meta import IntOrString, Object
from netpod.api.policy import ResourceQuota, ResourceQuotaStatus
from netpod.controllers.controller import Context, Controller, by_namespace
from netpod.controllers.view import View
from netpod.errors import NotFound

log = logging.getLogger(__name__)

_UNCOUNTED = frozenset({"CSIStorageCapacity", "Event", "Lease", "EndpointSlice", "Endpoints"})
"""Kinds that change all the time; a quota may count them, and its status follows with the next look."""
RESYNC = timedelta(minutes=5)


class ResourceQuotaController:
    """Keeps the status of all quotas. Keys are namespaces."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._quotas = context.view(ResourceQuota)
        self._views: list[tuple[registry.Resource, View[Any]]] = [
            (r, context.view(r.cls))
            for r in registry.RESOURCES
            if r.namespaced and r.kind not in _UNCOUNTED
        ]
        self._loop: Controller[str] = context.loop(
            "resourcequota", self.reconcile, after=[self._quotas, *(v for _, v in self._views)]
        )
        for _, view in self._views:
            view.index("namespace", by_namespace)
        self._quotas.index("namespace", by_namespace)
        self._quotas.subscribe(self._changed)
        for _, view in self._views:
            if view is not self._quotas:
                view.subscribe(self._changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run_with_tick(RESYNC.total_seconds(), self._again)

    def _again(self) -> None:
        for quota in self._quotas.values():
            self._loop.enqueue(quota.metadata.namespace)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        namespace = shown.metadata.namespace
        if self._quotas.count("namespace", namespace):
            self._loop.enqueue(namespace)

    async def reconcile(self, namespace: str) -> None:
        """Count what a namespace uses, and write it into its quotas."""
        for quota in self._quotas.by("namespace", namespace):
            status = self._status(quota)
            if status == quota.status:
                continue
            try:
                fresh = dataclasses.replace(quota, status=status)
                self._quotas.wrote(await self._context.client.update(fresh, subresource="status"))
            except NotFound:
                log.debug("quota %s is gone", meta.key_of(quota))

    def _status(self, quota: ResourceQuota) -> ResourceQuotaStatus:
        now = meta.now()
        hard = quota.spec.hard
        used = usage.add(
            {k: v for k, v in usage.of(resource, obj, now).items() if k in hard}
            for resource, view in self._views
            for obj in view.by("namespace", quota.metadata.namespace)
            if usage.concerns(quota, obj)
        )
        told: dict[str, IntOrString] = {
            name: usage.written(name, used.get(name, podamounts.NOTHING), hard) for name in hard
        }
        held: dict[str, IntOrString] = {
            name: quantity.canonical(value) for name, value in hard.items()
        }
        return dataclasses.replace(quota.status, hard=held, used=told)
