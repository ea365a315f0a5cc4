"""Follows Gateways and what they name, makes their Services, and writes every status.

Nothing is watched but Gateways and their classes until there is a Gateway of ours, so a cluster without any pays for
two idle watches. Services and statuses are written behind the data path: what HAProxy serves never waits for them.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from netpod.api.core import Namespace, Secret
from netpod.api.discovery import EndpointSlice
from netpod.api.gateway import (
    Gateway,
    GatewayClass,
    GatewayClassSpec,
    HTTPRoute,
    ReferenceGrant,
)
from netpod.api.meta import Key, Object, ObjectMeta, key_of
from netpod.api.service import Service
from netpod.client.informer import Informer, Informers
from netpod.client.rest import Client
from netpod.client.workqueue import WorkQueue
from netpod.errors import AlreadyExists, Conflict, NotFound
from netpod.ingress.gateway import plan, services
from netpod.ingress.gateway.model import CLASS, CONTROLLER
from netpod.ingress.gateway.plan import Plan, World
from netpod.ingress.gateway.services import Binds

log = logging.getLogger(__name__)
Task = tuple[str, Key]
"""What is to be written: "GatewayClass", "Gateway", "HTTPRoute" or "Service", and its key."""


class Gateways:
    """The Gateway API's part of the ingress controller.

    Args:
        client: Its way to the API server.
        informers: The controller's, running.
        service: The ingress' own Service.
        stale: Called when something must be planned anew.

    Attributes:
        plan: What was planned last.
        seen: Set when all is seen that Gateways depend on.
    """

    def __init__(
        self, client: Client, informers: Informers, service: Key, stale: Callable[[], None]
    ) -> None:
        self._client = client
        self._informers = informers
        self._service = service
        self._stale = stale
        self._classes: Informer[GatewayClass] | None = None
        self._gateways: Informer[Gateway] | None = None
        self._routes: Informer[HTTPRoute] | None = None
        self._grants: Informer[ReferenceGrant] | None = None
        self._namespaces: Informer[Namespace] | None = None
        self._services = informers.of(Service)
        self._queue: WorkQueue[Task] = WorkQueue("gateways")
        self._binds: Binds = {}
        self._world: World | None = None
        self._started = asyncio.Event()
        self.seen = asyncio.Event()
        self.plan = Plan()

    async def run(self) -> None:
        """Follow and write forever; started when the data path stands."""
        await self._make_class()
        self._classes = self._informers.of(GatewayClass)
        self._gateways = self._informers.of(Gateway)
        await self._classes.wait_synced()
        await self._gateways.wait_synced()
        self._services.subscribe(self._on_service)
        self._gateways.subscribe(lambda old, new: self._on_gateway(old, new))
        self._classes.subscribe(self._on_any)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._queue.run(self._write), name="gateway writes")
            await self._started.wait()
            self._routes = self._informers.of(HTTPRoute)
            self._grants = self._informers.of(ReferenceGrant)
            self._namespaces = self._informers.of(Namespace)
            for informer in (self._routes, self._grants, self._namespaces):
                await informer.wait_synced()
            self._routes.subscribe(self._on_any)
            self._grants.subscribe(self._on_any)
            self._namespaces.subscribe(self._on_namespace)
            self.seen.set()
            self._stale()

    async def _make_class(self) -> None:
        """The class that is there from the start, made here so that no start waits for it."""
        spec = GatewayClassSpec(controller_name=CONTROLLER, description="HAProxy, as for Ingresses")
        try:
            await self._client.create(GatewayClass(metadata=ObjectMeta(name=CLASS), spec=spec))
        except AlreadyExists:
            return

    def replan(
        self, slices: Iterable[EndpointSlice], secrets: Iterable[Secret], now: datetime
    ) -> Plan:
        """Plan anew from what is seen now; until everything has been seen, nothing is planned."""
        if self._classes is None or self._gateways is None:
            return self.plan
        if self._started.is_set() and not self.seen.is_set():
            return self.plan
        world = World(
            classes=self._classes.values(),
            gateways=self._gateways.values(),
            routes=self._routes.values() if self._routes is not None else (),
            grants=self._grants.values() if self._grants is not None else (),
            namespaces=self._namespaces.values() if self._namespaces is not None else (),
            services=self._services.values(),
            slices=list(slices),
            secrets=list(secrets),
            own=self._services.get(*self._service),
            binds=self._binds,
            now=now,
        )
        self._world = world
        self.plan = plan.make(world)
        self._binds = self.plan.binds
        return self.plan

    @property
    def expected(self) -> bool:
        """Whether an earlier controller served Gateways: what it made for them is still there."""
        return any(services.gateway_of(service) for service in self._services.values())

    def tell(self, gateways: Mapping[Key, str], routes: Mapping[Key, str]) -> None:
        """Write what the plan says of each object, once HAProxy serves it.

        Args:
            gateways: Why HAProxy refuses those that it does.
            routes: The same of HTTPRoutes.
        """
        if (gateways or routes) and self._world is not None:
            self.plan = plan.make(
                dataclasses.replace(self._world, refused_gateways=gateways, refused_routes=routes)
            )
        for kind, wanted in self._statuses().items():
            for key in wanted:
                self._queue.add((kind, key))
        for key in self.plan.services:
            self._queue.add(("Service", key))
        for service in self._services.values():
            if services.gateway_of(service) and key_of(service) not in self.plan.services:
                self._queue.add(("Service", key_of(service)))

    def needs(self, service: Key) -> bool:
        """Whether changes of a Service or its endpoints matter."""
        return service in self.plan.needed

    def _statuses(self) -> Mapping[str, Mapping[Key, object]]:
        return {
            "GatewayClass": self.plan.classes,
            "Gateway": self.plan.gateways,
            "HTTPRoute": self.plan.routes,
        }

    def _on_gateway(self, old: Gateway | None, new: Gateway | None) -> None:
        if new is not None:
            self._started.set()
        self._on_any(old, new)

    def _on_any(self, old: Object | None, new: Object | None) -> None:
        # A status that we wrote ourselves comes back as a change, and changes nothing here.
        if old is None or new is None or _meant(old) != _meant(new):
            self._stale()

    def _on_namespace(self, old: Namespace | None, new: Namespace | None) -> None:
        if old is None or new is None or old.metadata.labels != new.metadata.labels:
            self._stale()

    def _on_service(self, old: Service | None, new: Service | None) -> None:
        present = new or old
        if present is not None and services.gateway_of(present) is not None:
            self._stale()

    async def _write(self, task: Task) -> None:
        kind, key = task
        try:
            if kind == "Service":
                await self._write_service(key)
            elif kind == "GatewayClass":
                await self._write_status(self._classes, key, self.plan.classes.get(key))
            elif kind == "Gateway":
                await self._write_status(self._gateways, key, self.plan.gateways.get(key))
            else:
                await self._write_status(self._routes, key, self.plan.routes.get(key))
        except NotFound:
            return
        except (Conflict, AlreadyExists):
            self._queue.add_after(task, 0.05)

    async def _write_status(
        self,
        informer: Informer[GatewayClass] | Informer[Gateway] | Informer[HTTPRoute] | None,
        key: Key,
        wanted: object,
    ) -> None:
        obj = informer.get(*key) if informer is not None else None
        if obj is None or wanted is None or obj.status == wanted:
            return
        made = dataclasses.replace(obj, status=wanted)  # type: ignore[arg-type]
        await self._client.update(made, subresource="status")

    async def _write_service(self, key: Key) -> None:
        current = self._services.get(*key)
        wanted = self.plan.services.get(key)
        if wanted is None:
            if current is not None and services.gateway_of(current) is not None:
                await self._client.delete(Service, key.name, key.namespace)
            return
        if current is None:
            await self._client.create(wanted)
            return
        made = services.updated(current, wanted)
        if made is not current:
            await self._client.update(made)


def _meant(obj: Object) -> tuple[object, ...]:
    """Return what a plan depends on."""
    about = obj.metadata
    spec = getattr(obj, "spec", None)
    return (about.uid, about.annotations, about.deletion_timestamp, about.generation, spec)
