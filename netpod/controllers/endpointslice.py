"""EndpointSlice controller: where the pods of every Service with a selector are, at once and in few writes.

Nothing is batched: the first change is written as soon as it is seen; what comes while a write is under way goes
into the next one. After a restart equal slices are left alone.

Source: kubernetes pkg/controller/endpointslice/endpointslice_controller.go.
"""

from collections.abc import Coroutine
from typing import Any

from netpod.api import meta
from netpod.api.discovery import EndpointSlice
from netpod.api.meta import Key
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.service import Service
from netpod.controllers import controller, membership, slices
from netpod.controllers.controller import Context, Controller
from netpod.controllers.membership import Membership
from netpod.controllers.slicewriter import SliceWriter
from netpod.controllers.triggertime import TriggerTimes


class EndpointSliceController:
    """Keeps the EndpointSlices of every Service."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._members = Membership(context)
        self._slices = context.view(EndpointSlice)
        self._writer = SliceWriter(context.client, self._slices)
        self._slices.index("service", by_service)
        self._times = TriggerTimes()
        self._loop: Controller[Key] = context.loop(
            "endpointslice",
            self.reconcile,
            after=[
                self._members.services,
                self._members.pods,
                self._members.nodes,
                self._slices,
            ],
        )
        self._members.services.subscribe(self._service_changed)
        self._members.pods.subscribe(self._pod_changed)
        self._members.nodes.subscribe(self._node_changed)
        self._slices.subscribe(self._slice_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _service_changed(self, old: Service | None, new: Service | None) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        self._loop.enqueue(meta.key_of(shown))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if old and new and membership.fingerprint(old) == membership.fingerprint(new):
            return
        for pod in (old, new):
            if pod is not None:
                for service in self._members.services_of(pod):
                    self._loop.enqueue(meta.key_of(service))

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        """A node that appears lets its pods in; a zone that changes is written on them."""
        if old and new and membership.zone_of(old) == membership.zone_of(new):
            return
        shown = new or old
        assert shown is not None, "a change is a change of something"
        for pod in self._members.pods.by("node", shown.metadata.name):
            for service in self._members.services_of(pod):
                self._loop.enqueue(meta.key_of(service))

    def _slice_changed(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        """Somebody else's hand in our slices is put right."""
        for item in (old, new):
            if item is not None:
                for key in by_service(item):
                    self._loop.enqueue(key)

    async def reconcile(self, key: Key) -> None:
        """Bring one Service's slices up to date."""
        service = self._members.services.get(key)
        existing = self._slices.by("service", key)
        if service is None or service.metadata.deletion_timestamp:
            # The slices go with their owner.
            self._times.forget(key)
            return
        if not membership.has_endpoints(service):
            if service.spec.type == "ExternalName":
                await controller.all_of(self._writer.delete(item) for item in existing)
            return
        selected = self._members.pods_of(service)
        names = {pod.spec.node_name for pod in selected}
        nodes = {
            name: node
            for name in names
            if (node := self._members.nodes.get(Key("", name))) is not None
        }
        plan = slices.plan(
            service,
            slices.endpoints(service, selected, nodes),
            existing,
            self._times.take(service, selected),
        )
        writes: list[Coroutine[Any, Any, object]] = []
        writes += [self._writer.create(item) for item in plan.create]
        writes += [self._writer.update(item) for item in plan.update]
        writes += [self._writer.delete(item) for item in plan.delete]
        await controller.all_of(writes)


def by_service(item: EndpointSlice) -> list[Key]:
    """Index function: the Service of a slice that this controller manages."""
    labels = item.metadata.labels
    name = labels.get(slices.SERVICE_NAME, "")
    if labels.get(slices.MANAGED_BY) != slices.MANAGER or not name:
        return []
    return [Key(item.metadata.namespace, name)]
