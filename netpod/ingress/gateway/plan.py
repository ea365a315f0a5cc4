"""All Gateways and HTTPRoutes -> what HAProxy serves, the Services to make, and what every status says (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from netpod.api import meta
from netpod.api.core import Namespace, Secret
from netpod.api.discovery import EndpointSlice
from netpod.api.gateway import (
    Gateway,
    GatewayClass,
    GatewayClassStatus,
    GatewayStatus,
    HTTPRoute,
    HTTPRouteStatus,
    ReferenceGrant,
)
from netpod.api.meta import Key, key_of
from netpod.api.service import Service
from netpod.ingress import upstream
from netpod.ingress.gateway import listeners, references, rules, services, statuses
from netpod.ingress.gateway.attach import Attachment, attach
from netpod.ingress.gateway.listeners import Reviewed
from netpod.ingress.gateway.model import CONTROLLER, Frontend, Match, Site
from netpod.ingress.gateway.services import Binds
from netpod.ingress.model import Backend, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What there is.

    Attributes:
        own: The ingress' own Service, which names its pods.
        binds: What HAProxy listened on when last planned.
        refused_gateways: Why HAProxy refuses some of them.
        refused_routes: The same.
        now: UTC.
    """

    classes: Sequence[GatewayClass] = ()
    gateways: Sequence[Gateway] = ()
    routes: Sequence[HTTPRoute] = ()
    grants: Sequence[ReferenceGrant] = ()
    namespaces: Sequence[Namespace] = ()
    services: Sequence[Service] = ()
    slices: Sequence[EndpointSlice] = ()
    secrets: Sequence[Secret] = ()
    own: Service | None = None
    binds: Binds = field(default_factory=dict)
    refused_gateways: Mapping[Key, str] = field(default_factory=dict)
    refused_routes: Mapping[Key, str] = field(default_factory=dict)
    now: datetime


@dataclass(slots=True, kw_only=True)
class Plan:
    """What to do.

    Attributes:
        frontends: What HAProxy listens for.
        backends: Where its requests go.
        binds: What it listens on, to be given to the next plan.
        services: Services that Gateways should have.
        needed: Services whose changes matter.
        secrets: The same for Secrets.
        changes: When a certificate begins or ends to be valid next.
        classes, gateways, routes: Statuses by object.
    """

    frontends: tuple[Frontend, ...] = ()
    backends: Mapping[Target, Backend] = field(default_factory=dict)
    binds: Binds = field(default_factory=dict)
    services: Mapping[Key, Service] = field(default_factory=dict)
    needed: frozenset[Key] = frozenset()
    secrets: frozenset[Key] = frozenset()
    changes: datetime | None = None
    classes: Mapping[Key, GatewayClassStatus] = field(default_factory=dict)
    gateways: Mapping[Key, GatewayStatus] = field(default_factory=dict)
    routes: Mapping[Key, HTTPRouteStatus] = field(default_factory=dict)


def _age(obj: Gateway | HTTPRoute) -> tuple[str, Key]:
    return (obj.metadata.creation_timestamp, key_of(obj))


def ours(world: World) -> list[Gateway]:
    """Gateways of classes of ours, the oldest first; one that is being deleted is none."""
    names = {c.metadata.name for c in world.classes if c.spec.controller_name == CONTROLLER}
    found = [
        g
        for g in world.gateways
        if g.spec.gateway_class_name in names and not g.metadata.deletion_timestamp
    ]
    return sorted(found, key=_age)


def make(world: World) -> Plan:
    """Plan everything."""
    now = meta.timestamp(world.now)
    mine = ours(world)
    secrets = {key_of(s): s for s in world.secrets}
    by_key = {key_of(s): s for s in world.services}
    known = listeners.Known(secrets=secrets, grants=world.grants, now=world.now)
    reviewed = {key_of(g): (g, listeners.review(g, known)) for g in mine}
    places = [
        (key, one.listener.port)
        for key, (_, found) in reviewed.items()
        for one in found
        if one.served and not statuses.odd_addresses(reviewed[key][0])
    ]
    binds = services.allocate(places, world.binds, world.services)
    labels = {n.metadata.name: n.metadata.labels for n in world.namespaces}
    found: dict[tuple[Key, str], list[tuple[tuple[object, ...], Match]]] = {}
    routes: dict[Key, HTTPRouteStatus] = {}
    needed: set[Key] = set()
    for route in sorted(world.routes, key=_age):
        attachments = list(attach(route, reviewed, labels))
        read = rules.read(route, by_key, world.grants)
        if attachments:
            needed |= read.services
        if attachments or any(p.controller_name == CONTROLLER for p in route.status.parents):
            why = world.refused_routes.get(key_of(route), "")
            routes[key_of(route)] = statuses.http_route(route, attachments, read, now, why)
        if len(read.unsupported) < len(route.spec.rules):
            _place(route, attachments, read.matches, found)
    frontends = tuple(
        _frontend(g, port, bind, reviewed[key_of(g)][1], found)
        for g in mine
        for (key, port), bind in sorted(binds.items())
        if key == key_of(g)
    )
    own = world.own
    asked = (services.wanted(g, own, binds) for g in mine) if own is not None else ()
    wanted = {key_of(s): s for s in asked if s is not None}
    return Plan(
        frontends=frontends,
        backends=_backends(frontends, by_key, world.slices),
        binds=binds,
        services=wanted,
        needed=frozenset(needed | wanted.keys()),
        secrets=frozenset(known.named),
        changes=known.changes,
        classes={
            key_of(c): statuses.gateway_class(c, now)
            for c in world.classes
            if c.spec.controller_name == CONTROLLER
        },
        gateways={key_of(g): _status(g, reviewed[key_of(g)][1], world, by_key, now) for g in mine},
        routes=routes,
    )


def _status(
    gateway: Gateway,
    reviewed: Sequence[Reviewed],
    world: World,
    by_key: Mapping[Key, Service],
    now: str,
) -> GatewayStatus:
    namespace = world.own.metadata.namespace if world.own is not None else ""
    own = by_key.get(Key(namespace, services.name_of(key_of(gateway))))
    why = world.refused_gateways.get(key_of(gateway), "")
    return statuses.gateway(gateway, reviewed, services.addresses(own), now, why)


def _place(
    route: HTTPRoute,
    attachments: Sequence[Attachment],
    matches: Sequence[Match],
    found: dict[tuple[Key, str], list[tuple[tuple[object, ...], Match]]],
) -> None:
    """Put a route's matches at the listeners that take it, each once."""
    taken: dict[tuple[Key, str], dict[str, None]] = {}
    for each in attachments:
        for one, hostnames in each.listeners:
            place = (each.gateway, one.listener.name)
            if place not in taken:
                one.routes += 1
            taken.setdefault(place, {}).update(dict.fromkeys(hostnames))
    for place, names in taken.items():
        for hostname in names:
            for position, bare in enumerate(matches):
                match = replace(bare, hostname=hostname)
                key = rules.order(_age(route), position, match)
                found.setdefault(place, []).append((key, match))


def _frontend(
    gateway: Gateway,
    port: int,
    bind: int,
    reviewed: Sequence[Reviewed],
    found: Mapping[tuple[Key, str], list[tuple[tuple[object, ...], Match]]],
) -> Frontend:
    key = key_of(gateway)
    sites: list[Site] = []
    certificates: list[tuple[str, str]] = []
    pems: dict[str, str] = {}
    https = False
    for one in reviewed:
        listener = one.listener
        if listener.port != port or not one.served:
            continue
        https = listener.protocol == "HTTPS"
        ordered = sorted(found.get((key, listener.name), ()), key=lambda pair: pair[0])
        matches = tuple(
            replace(match, id=f"{key.namespace}:{key.name}:{listener.name}:{number}")
            for number, (_, match) in enumerate(ordered)
        )
        sites.append(Site(name=listener.name, hostname=listener.hostname.lower(), matches=matches))
        for number, pem in enumerate(one.pems):
            file = f"gateways/{key.namespace}:{key.name}:{listener.name}:{number}.pem"
            certificates.append((listener.hostname.lower(), file))
            pems[file] = pem
    sites.sort(key=lambda site: references.specificity(site.hostname), reverse=True)
    return Frontend(
        gateway=key,
        port=port,
        bind=bind,
        https=https,
        sites=tuple(sites),
        certificates=tuple(sorted(certificates)),
        pems=pems,
    )


def _backends(
    frontends: Sequence[Frontend],
    by_key: Mapping[Key, Service],
    slices: Sequence[EndpointSlice],
) -> Mapping[Target, Backend]:
    targets = {target for frontend in frontends for target in frontend.targets}
    by_service = upstream.by_service(slices)
    return {target: upstream.resolve(target, by_key, by_service) for target in sorted(targets)}
