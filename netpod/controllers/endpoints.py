"""Endpoints controller: the legacy object beside the EndpointSlices, for clients that still read it.

Services without a selector, default/kubernetes among them, keep the Endpoints their owner wrote.

Source: kubernetes pkg/controller/endpoint/endpoints_controller.go.
"""

import logging

from netpod.api import meta
from netpod.api.core import Endpoints
from netpod.api.meta import Key
from netpod.api.pod import Pod
from netpod.api.service import Service
from netpod.controllers import membership, subsets
from netpod.controllers.controller import Context, Controller
from netpod.controllers.membership import Membership
from netpod.controllers.triggertime import TriggerTimes
from netpod.errors import AlreadyExists, Conflict, NotFound

log = logging.getLogger(__name__)


class EndpointsController:
    """Keeps the Endpoints object of every Service with a selector."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._members = Membership(context)
        self._endpoints = context.view(Endpoints)
        self._times = TriggerTimes()
        self._loop: Controller[Key] = context.loop(
            "endpoints",
            self.reconcile,
            after=[self._members.services, self._members.pods, self._endpoints],
        )
        self._members.services.subscribe(self._service_changed)
        self._members.pods.subscribe(self._pod_changed)
        self._endpoints.subscribe(self._endpoints_changed)

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

    def _endpoints_changed(self, old: Endpoints | None, new: Endpoints | None) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        self._loop.enqueue(meta.key_of(shown))

    async def reconcile(self, key: Key) -> None:
        """Bring one Service's Endpoints up to date, or delete them after it."""
        service = self._members.services.get(key)
        known = self._endpoints.get(key)
        if service is None:
            self._times.forget(key)
            if (
                known is not None
                and known.metadata.labels.get(subsets.MANAGED_BY) == subsets.MANAGER
            ):
                await self._delete(known)
            return
        if not membership.has_endpoints(service) or service.metadata.deletion_timestamp:
            return
        selected = self._members.pods_of(service)
        wanted = subsets.endpoints(service, selected, known, self._times.take(service, selected))
        if wanted is None:
            return
        try:
            if known is None:
                self._endpoints.wrote(await self._context.client.create(wanted))
            else:
                self._endpoints.wrote(await self._context.client.update(wanted))
        except AlreadyExists as error:
            raise Conflict(str(error)) from error
        except NotFound:
            log.debug("endpoints %s: deleted meanwhile", key)

    async def _delete(self, known: Endpoints) -> None:
        about = known.metadata
        try:
            await self._context.client.delete(Endpoints, about.name, about.namespace, uid=about.uid)
        except NotFound:
            log.debug("endpoints %s are gone already", about.name)
        self._endpoints.removed(known)
