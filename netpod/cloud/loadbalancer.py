"""The service controller: every Service of type LoadBalancer has an address, and its status says which.

All state is in the API: after a restart the addresses in `status.loadBalancer` are adopted before a new one is given.
Unlike upstream no finalizer is set: a deleted Service leaves nothing that only its deletion could clean up.
Source: kubernetes cloud-provider/controllers/service/controller.go.
"""

import dataclasses
import logging
from collections.abc import Sequence

from netpod.api.meta import Key, key_of
from netpod.api.service import LoadBalancerIngress, LoadBalancerStatus, Service
from netpod.client.events import EventRecorder
from netpod.client.informer import Informer
from netpod.client.rest import Client
from netpod.client.workqueue import WorkQueue
from netpod.cloud import model
from netpod.cloud.pool import VipPool
from netpod.errors import Exhausted, NotFound
from netpod.ip import Address, Network, family_of

log = logging.getLogger(__name__)


class LoadBalancerController:
    """Reconciles Services one at a time.

    Args:
        client: Where statuses are written.
        services: The cluster's Services.
        events: Where people are told.
        vip_cidrs: Networks the addresses come from, one of each family.
    """

    def __init__(
        self,
        client: Client,
        services: Informer[Service],
        events: EventRecorder,
        vip_cidrs: Sequence[Network],
    ) -> None:
        self._client = client
        self._services = services
        self._events = events
        self._pools = {family_of(it): VipPool(it) for it in vip_cidrs}
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
                for ip in model.addresses(service):
                    pool = self._pools.get(family_of(ip))
                    if pool is not None and pool.get(key_of(service)) is None:
                        pool.adopt(key_of(service), ip)

    async def reconcile(self, key: Key) -> None:
        """Give one Service what it should have, or take back what it should not."""
        service = self._services.get(*key)
        if service is None or not model.wants_load_balancer(service):
            await self._clear(key, service)
            return
        wanted = service.spec.load_balancer_ip
        requested = model.parse(wanted)
        pools = [self._pools[it] for it in model.families(service) if it in self._pools]
        has = tuple(ip for pool in pools if (ip := pool.get(key)) is not None)
        if (
            len(has) == len(pools)
            and model.addresses(service) == has
            and (requested in has if requested else not wanted)
        ):
            self._waiting.discard(key)
            return
        self._events.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        if wanted and (requested is None or not any(it.holds(requested) for it in pools)):
            networks = " or ".join(str(it.network) for it in pools)
            self._failed(service, f"loadBalancerIP {wanted} is not in {networks}")
            return
        vips: list[Address] = []
        try:
            for pool in pools:
                mine = requested is not None and pool.holds(requested)
                vips.append(pool.allocate(key, requested if mine else None))
        except Exhausted as error:
            if not has:
                # One address of two is of no use to it, and perhaps to another.
                for pool in pools:
                    pool.release(key)
            self._waiting.add(key)
            self._failed(service, str(error))
            return
        # An address of a family that the Service no longer has is free again.
        left = [it for it in self._pools.values() if it not in pools and it.release(key)]
        if left or set(has) - set(vips):
            self._wake_waiting()
        await self._write(
            service, tuple(LoadBalancerIngress(ip=str(vip), ip_mode="VIP") for vip in vips)
        )
        self._waiting.discard(key)
        self._events.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        log.info("service %s has %s", key, ", ".join(map(str, vips)))

    async def _clear(self, key: Key, service: Service | None) -> None:
        self._waiting.discard(key)
        released = [ip for pool in self._pools.values() if (ip := pool.release(key))]
        if service is not None and service.spec.type != "LoadBalancer" and model.addresses(service):
            self._events.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
            await self._write(service, ())
            self._events.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")
        if released:
            log.info("service %s gave back %s", key, ", ".join(map(str, released)))
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
