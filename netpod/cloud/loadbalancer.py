"""The service controller: every Service of type LoadBalancer has an address, and its status says which.

All state is in the API: after a restart the addresses in `status.loadBalancer` are adopted before a new one is given.
Unlike upstream no finalizer is set: a deleted Service leaves nothing that only its deletion could clean up.
Source: kubernetes cloud-provider/controllers/service/controller.go.
"""

import dataclasses
import logging
from ipaddress import IPv4Network

from netpod.api.meta import Key, key_of
from netpod.api.service import LoadBalancerIngress, LoadBalancerStatus, Service
from netpod.client.events import EventRecorder
from netpod.client.informer import Informer
from netpod.client.rest import Client
from netpod.client.workqueue import WorkQueue
from netpod.cloud import model
from netpod.cloud.pool import VipPool
from netpod.errors import Exhausted, NotFound

log = logging.getLogger(__name__)


class LoadBalancerController:
    """Reconciles Services one at a time.

    Args:
        client: Where statuses are written.
        services: The cluster's Services.
        events: Where people are told.
        vip_cidr: Network the addresses come from.
    """

    def __init__(
        self,
        client: Client,
        services: Informer[Service],
        events: EventRecorder,
        vip_cidr: IPv4Network,
    ) -> None:
        self._client = client
        self._services = services
        self._events = events
        self._pool = VipPool(vip_cidr)
        self._queue: WorkQueue[Key] = WorkQueue("loadbalancer")
        self._waiting: set[Key] = set()

    async def run(self) -> None:
        """Reconcile until cancelled. The Services' informer must run meanwhile."""
        await self._services.wait_synced()
        self.adopt()
        self._services.subscribe(self._changed)
        # One worker: two of them could not agree on the lowest free address.
        await self._queue.run(self.reconcile)

    def adopt(self) -> None:
        """Take over the addresses that Services already show; of two with the same one, the older keeps it."""
        for service in sorted(
            self._services.values(), key=lambda s: (s.metadata.creation_timestamp or "", key_of(s))
        ):
            if model.wants_load_balancer(service):
                any(self._pool.adopt(key_of(service), ip) for ip in model.addresses(service))

    async def reconcile(self, key: Key) -> None:
        """Give one Service what it should have, or take back what it should not."""
        service = self._services.get(*key)
        if service is None or not model.wants_load_balancer(service):
            await self._clear(key, service)
            return
        wanted = service.spec.load_balancer_ip
        requested = model.ipv4(wanted)
        has = self._pool.get(key)
        if (
            has is not None
            and model.addresses(service) == (has,)
            and requested in (None, has)
            and (requested or not wanted)
        ):
            self._waiting.discard(key)
            return
        self._events.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        if wanted and (requested is None or not self._pool.holds(requested)):
            cause = f"loadBalancerIP {wanted} is not in {self._pool.network}"
            self._failed(service, cause)
            return
        try:
            vip = self._pool.allocate(key, requested)
        except Exhausted as error:
            self._waiting.add(key)
            self._failed(service, str(error))
            return
        if has is not None and has != vip:
            self._wake_waiting()
        await self._write(service, (LoadBalancerIngress(ip=str(vip), ip_mode="VIP"),))
        self._waiting.discard(key)
        self._events.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        log.info("service %s has address %s", key, vip)

    async def _clear(self, key: Key, service: Service | None) -> None:
        self._waiting.discard(key)
        released = self._pool.release(key)
        if service is not None and service.spec.type != "LoadBalancer" and model.addresses(service):
            self._events.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
            await self._write(service, ())
            self._events.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")
        if released is not None:
            log.info("service %s gave back address %s", key, released)
            self._wake_waiting()

    async def _write(self, service: Service, ingress: tuple[LoadBalancerIngress, ...]) -> None:
        status = dataclasses.replace(
            service.status, load_balancer=LoadBalancerStatus(ingress=ingress)
        )
        try:
            await self._client.update(
                dataclasses.replace(service, status=status), subresource="status"
            )
        except NotFound:
            log.debug("service %s is gone", key_of(service))

    def _failed(self, service: Service, cause: str) -> None:
        message = f"Error syncing load balancer: failed to ensure load balancer: {cause}"
        self._events.event(service, "Warning", "SyncLoadBalancerFailed", message)
        log.warning("service %s: %s", key_of(service), cause)

    def _wake_waiting(self) -> None:
        for key in sorted(self._waiting):
            self._queue.add(key)

    def _changed(self, old: Service | None, new: Service | None) -> None:
        service = new or old
        if service is not None:
            self._queue.add(key_of(service))
