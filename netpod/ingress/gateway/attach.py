"""Which listeners take a route (pure).

Source: Gateway API reference, ParentReference, AllowedRoutes, RouteConditionReason.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netpod.api.gateway import GROUP, Gateway, HTTPRoute, ParentReference
from netpod.api.meta import Key, key_of
from netpod.ingress.gateway import references
from netpod.ingress.gateway.listeners import HTTP_ROUTE, Reviewed


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What one of our Gateways says to a route that names it.

    Attributes:
        ref: As the route names it.
        gateway: The Gateway.
        listeners: Listeners that take it, with the hostnames they have in common.
        reason: "Accepted", or why no listener takes it.
        message: The same in a sentence.
    """

    ref: ParentReference
    gateway: Key
    listeners: tuple[tuple[Reviewed, tuple[str, ...]], ...] = ()
    reason: str = "Accepted"
    message: str = "the route is accepted"


def attach(
    route: HTTPRoute,
    gateways: Mapping[Key, tuple[Gateway, list[Reviewed]]],
    labels: Mapping[str, Mapping[str, str]],
) -> Iterable[Attachment]:
    """Yield an Attachment for each of a route's parents that is a Gateway of ours.

    Args:
        route: With defaults.
        gateways: Our Gateways and their listeners.
        labels: Labels by namespace.
    """
    for ref in route.spec.parent_refs:
        if (ref.group or GROUP, ref.kind or "Gateway") != (GROUP, "Gateway"):
            continue
        key = Key(ref.namespace or route.metadata.namespace, ref.name)
        if key in gateways:
            yield _attach(route, ref, *gateways[key], labels)


def _attach(
    route: HTTPRoute,
    ref: ParentReference,
    gateway: Gateway,
    reviewed: list[Reviewed],
    labels: Mapping[str, Mapping[str, str]],
) -> Attachment:
    key = key_of(gateway)

    def refused(reason: str, message: str) -> Attachment:
        return Attachment(ref=ref, gateway=key, reason=reason, message=message)

    named = [
        one
        for one in reviewed
        if ref.section_name in ("", one.listener.name) and ref.port in (0, one.listener.port)
    ]
    if not named:
        which = " and ".join(
            filter(
                None,
                (
                    f"name {ref.section_name}" if ref.section_name else "",
                    f"port {ref.port}" if ref.port else "",
                ),
            )
        )
        return refused("NoMatchingParent", f"Gateway {key} has no listener with {which}")
    namespace = route.metadata.namespace
    admitting = [
        one
        for one in named
        if HTTP_ROUTE in one.kinds
        and references.admits(one.listener, key.namespace, namespace, labels)
    ]
    if not admitting:
        return refused(
            "NotAllowedByListeners",
            f"no listener of Gateway {key} allows HTTPRoutes of namespace {namespace}",
        )
    taken = []
    for one in admitting:
        asked = route.spec.hostnames or ("",)
        common = (references.common(one.listener.hostname, host) for host in asked)
        hostnames = tuple(dict.fromkeys(host.lower() for host in common if host is not None))
        if hostnames:
            taken.append((one, hostnames))
    if not taken:
        return refused(
            "NoMatchingListenerHostname",
            f"no listener of Gateway {key} has a hostname in common with {', '.join(route.spec.hostnames)}",
        )
    return Attachment(ref=ref, gateway=key, listeners=tuple(taken))
