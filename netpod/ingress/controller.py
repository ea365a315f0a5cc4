"""The ingress controller: watches Ingresses and what they name, and makes HAProxy serve them.

Level-triggered: any change marks everything stale, one task merges it all anew and applies the difference.
Ingress status and events are written beside it, so a slow API server never delays the data path.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from netpod.api import codec, meta
from netpod.api.core import Secret
from netpod.api.discovery import EndpointSlice
from netpod.api.meta import Key, Object, key_of
from netpod.api.networking import Ingress, IngressClass
from netpod.api.service import LoadBalancerStatus, Service
from netpod.client.events import EventRecorder
from netpod.client.informer import Informers
from netpod.client.rest import Client
from netpod.client.workqueue import WorkQueue
from netpod.errors import NetpodError, NotFound
from netpod.ingress import classes as ingress_classes
from netpod.ingress import merge, upstream
from netpod.ingress.gateway.watch import Gateways
from netpod.ingress.model import Problem, Routing
from netpod.ingress.refusal import Kind, Refusals, Sources
from netpod.ingress.reload import Haproxy

log = logging.getLogger(__name__)
COMPONENT = "netpod-ingress"
OWN_SERVICE = Key("kube-system", "ingress")
"""The Service that clients reach us through; its address becomes the Ingresses' address."""
GATHER_SECONDS = 0.002
"""How long changes are gathered, so that one `kubectl apply` is one change of HAProxy."""
GATEWAY_SECONDS = 5.0
"""How long a restarted controller looks for the Gateways that it served before."""
RETRY_SECONDS = 1.0
LONGEST_WAIT = 86400.0
"""Timers are set for a day at most; a certificate's end may be years away."""


class Controller:
    """Wires the API to one HAProxy.

    Args:
        client: Its way to the API server.
        haproxy: What to configure; the caller runs it.
        ready: Called once, when HAProxy serves the first complete configuration.
        service: The Service whose load balancer address Ingresses get as their status.
    """

    def __init__(
        self,
        client: Client,
        haproxy: Haproxy,
        *,
        ready: Callable[[], None],
        service: Key = OWN_SERVICE,
    ) -> None:
        self._client = client
        self._refusals = Refusals(haproxy)
        self._ready = ready
        self._service = service
        self._informers = Informers(client)
        self._ingresses = self._informers.of(Ingress)
        self._classes = self._informers.of(IngressClass)
        self._services = self._informers.of(Service)
        self._slices = self._informers.of(EndpointSlice)
        self._secrets = self._informers.of(Secret)
        self._recorder = EventRecorder(client, COMPONENT)
        self._stale = asyncio.Event()
        self._said: set[Problem] = set()
        self._status: WorkQueue[Key] = WorkQueue("ingress status")
        self._needed: frozenset[Key] = frozenset()
        self._needed_secrets: frozenset[Key] = frozenset()
        self._timer: asyncio.TimerHandle | None = None
        self._gateways = Gateways(client, self._informers, service, self._stale.set)

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            Unsupported: HAProxy is not installed.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._informers.run(), name="ingress informers")
            tasks.create_task(self._recorder.run(), name="ingress events")
            await self._informers.wait_synced()
            self._ingresses.subscribe(self._on_ingress)
            self._classes.subscribe(lambda old, new: self._on_all())
            self._services.subscribe(self._on_service)
            self._slices.subscribe(self._on_slice)
            self._secrets.subscribe(self._on_secret)
            tasks.create_task(self._status.run(self._write_status), name="ingress status")
            await self._serve(tasks)

    async def _serve(self, tasks: asyncio.TaskGroup) -> None:
        """Bring HAProxy up to date, again after each change; Gateways are followed once it serves."""
        expected = self._gateways.expected
        if expected:
            # Whoever served them before is gone: not to be ready without them.
            tasks.create_task(self._gateways.run(), name="gateways")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GATEWAY_SECONDS):
                    await self._gateways.seen.wait()
        self._stale.set()
        first = True
        while True:
            await self._stale.wait()
            await asyncio.sleep(0 if first else GATHER_SECONDS)
            self._stale.clear()
            try:
                await self._sync()
            except NetpodError as error:
                if not error.retryable:
                    raise
                log.error("%s; trying again", error)
                await asyncio.sleep(RETRY_SECONDS)
                self._stale.set()
                continue
            if first:
                self._ready()
                first = False
                if not expected:
                    tasks.create_task(self._gateways.run(), name="gateways")

    async def _sync(self) -> None:
        now = meta.now()
        plan = self._gateways.replan(self._slices.values(), self._secrets.values(), now)
        ingresses = self._ingresses.values()
        routing = self._merge(ingresses)
        self._needed = frozenset(Key(t.namespace, t.service) for t in routing.backends)
        self._needed_secrets = routing.secrets | plan.secrets
        self._wake_at(min(filter(None, (routing.changes, plan.changes)), default=None))
        sources = Sources(
            ingresses=list(ingresses),
            routing=routing,
            merge=self._merge,
            frontends=plan.frontends,
            backends=plan.backends,
        )
        await self._refusals.apply(sources)
        self._tell([*routing.problems, *self._refusals.problems])
        self._gateways.tell(self._refusals.why(Kind.GATEWAY), self._refusals.why(Kind.ROUTE))

    def _merge(self, ingresses: Iterable[Ingress]) -> Routing:
        return merge.merge(
            ingresses,
            self._classes.values(),
            self._services.values(),
            self._slices.values(),
            self._secrets.values(),
        )

    def _wake_at(self, moment: datetime | None) -> None:
        """Look again when a certificate begins or ends to be valid."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if moment is not None:
            wait = max(0.0, (moment - meta.now()).total_seconds()) + 0.001
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(wait, LONGEST_WAIT), self._stale.set)

    def _tell(self, problems: Iterable[Problem]) -> None:
        """Write an event for each problem that was not there before."""
        present = set(problems)
        for problem in sorted(present - self._said, key=lambda p: (p.ingress, p.reason, p.message)):
            ingress = self._ingresses.get(*problem.ingress)
            if ingress is not None:
                self._recorder.event(ingress, "Warning", problem.reason, problem.message)
        self._said = present

    def _on_ingress(self, old: Ingress | None, new: Ingress | None) -> None:
        if new is not None:
            self._status.add(key_of(new))
        # A status that we wrote ourselves comes back as a change, and changes nothing here.
        if old is None or new is None or _routed(old) != _routed(new):
            self._stale.set()

    def _on_all(self) -> None:
        self._stale.set()
        for ingress in self._ingresses.values():
            self._status.add(key_of(ingress))

    def _on_service(self, old: Service | None, new: Service | None) -> None:
        key = _key(old, new)
        if key == self._service:
            self._on_all()
        # A Service that is named but missing is in `_needed` too.
        elif key in self._needed or self._gateways.needs(key):
            self._stale.set()

    def _on_slice(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        key = _key(old, new)
        for piece in (old, new):
            if piece is not None:
                name = piece.metadata.labels.get(upstream.SERVICE_NAME, "")
                owner = Key(key.namespace, name)
                if owner in self._needed or self._gateways.needs(owner):
                    self._stale.set()

    def _on_secret(self, old: Secret | None, new: Secret | None) -> None:
        if _key(old, new) in self._needed_secrets:
            self._stale.set()

    async def _write_status(self, key: Key) -> None:
        """Give an Ingress of ours the address of our Service's load balancer."""
        ingress = self._ingresses.get(*key)
        if ingress is None or not ingress_classes.served(ingress, self._classes.values()):
            return
        own = self._services.get(*self._service)
        wanted = own.status.load_balancer if own is not None else LoadBalancerStatus()
        if _places(ingress.status.load_balancer) == _places(wanted):
            return
        places = [{k: v for k, v in codec.encode(p).items() if k in _PLACE} for p in wanted.ingress]
        patch = {"status": {"loadBalancer": {"ingress": places}}}
        try:
            await self._client.patch(Ingress, key.name, key.namespace, patch, subresource="status")
        except NotFound:
            return


_PLACE = ("ip", "hostname", "ports")
"""Fields of IngressLoadBalancerIngress; a Service's has `ipMode` more."""


def _key(old: Object | None, new: Object | None) -> Key:
    present = new or old
    assert present is not None, "a change has an old or a new object"
    return key_of(present)


def _routed(ingress: Ingress) -> tuple[Any, ...]:
    """Return what routing depends on."""
    about = ingress.metadata
    return (about.uid, about.annotations, ingress.spec)


def _places(status: LoadBalancerStatus) -> list[tuple[str, str]]:
    return [(place.ip, place.hostname) for place in status.ingress]
