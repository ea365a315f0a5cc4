"""What the status of GatewayClasses, Gateways and HTTPRoutes says (pure).

Source: Gateway API reference, *ConditionType and *ConditionReason.
"""

from collections.abc import Iterable, Sequence

from netpod.api import meta
from netpod.api.gateway import (
    Gateway,
    GatewayAddress,
    GatewayClass,
    GatewayClassStatus,
    GatewayStatus,
    HTTPRoute,
    HTTPRouteStatus,
    ListenerStatus,
    ParentReference,
    RouteParentStatus,
)
from netpod.api.meta import Condition
from netpod.api.structs import replace
from netpod.ingress.gateway.attach import Attachment
from netpod.ingress.gateway.listeners import Reviewed
from netpod.ingress.gateway.model import CONTROLLER
from netpod.ingress.gateway.rules import Read

Said = tuple[str, bool, str, str]
"""type, whether it is so, reason, message."""


def gateway_class(obj: GatewayClass, now: str) -> GatewayClassStatus:
    """A class of ours is accepted."""
    said = [("Accepted", True, "Accepted", f"served by {CONTROLLER}")]
    return replace(obj.status, conditions=_conditions(obj.status.conditions, said, _at(obj), now))


def odd_addresses(obj: Gateway) -> list[GatewayAddress]:
    """Addresses that a Gateway asks for and cannot have."""
    return [a for a in obj.spec.addresses if a.type not in ("", "IPAddress")]


def gateway(
    obj: Gateway,
    reviewed: Sequence[Reviewed],
    addresses: Sequence[str],
    now: str,
    refused: str = "",
) -> GatewayStatus:
    """A Gateway is programmed when it has an address and a listener that is served, unless HAProxy refused it."""
    served = [one for one in reviewed if one.served]
    odd = odd_addresses(obj)
    if odd:
        text = f"addresses of type {odd[0].type} cannot be given; IPAddress can"
        accepted = ("Accepted", False, "UnsupportedAddress", text)
    elif len(served) == len(reviewed):
        accepted = ("Accepted", True, "Accepted", "all listeners are valid")
    else:
        names = ", ".join(one.listener.name for one in reviewed if not one.served)
        accepted = ("Accepted", bool(served), "ListenersNotValid", f"not valid: {names}")
    if not served or odd:
        programmed = ("Programmed", False, "Invalid", "no listener is served")
    elif refused:
        programmed = ("Programmed", False, "Invalid", f"HAProxy refuses it: {refused}")
    elif not addresses:
        programmed = ("Programmed", False, "AddressNotAssigned", "there is no address yet")
    else:
        programmed = ("Programmed", True, "Programmed", "listening")
    before = {status.name: status for status in obj.status.listeners}
    at = _at(obj)
    return replace(
        obj.status,
        addresses=tuple(GatewayAddress(type="IPAddress", value=ip) for ip in addresses),
        conditions=_conditions(obj.status.conditions, [accepted, programmed], at, now),
        listeners=tuple(_listener(one, before.get(one.listener.name), at, now) for one in reviewed),
    )


def _listener(one: Reviewed, before: ListenerStatus | None, at: int, now: str) -> ListenerStatus:
    good = {
        "Accepted": ("Accepted", "the listener is valid"),
        "ResolvedRefs": ("ResolvedRefs", "all references lead somewhere"),
    }
    said: list[Said] = [
        (type_, type_ not in one.wrong, *one.wrong.get(type_, words))
        for type_, words in good.items()
    ]
    conflict = one.wrong.get("Conflicted", ("NoConflicts", "no other listener is in its way"))
    said.append(("Conflicted", "Conflicted" in one.wrong, *conflict))
    wrong = next(iter(one.wrong.values()), ("", ""))[1]
    said.append(
        ("Programmed", True, "Programmed", "listening")
        if one.served
        else ("Programmed", False, "Invalid", wrong)
    )
    return ListenerStatus(
        name=one.listener.name,
        supported_kinds=one.kinds,
        attached_routes=one.routes,
        conditions=_conditions(before.conditions if before else (), said, at, now),
    )


def http_route(
    obj: HTTPRoute, attachments: Iterable[Attachment], read: Read, now: str, refused: str = ""
) -> HTTPRouteStatus:
    """What each of our Gateways says; other controllers' words stay as they are.

    A route whose configuration HAProxy `refused` is not accepted.
    """
    before = {p.parent_ref: p for p in obj.status.parents if p.controller_name == CONTROLLER}
    others = tuple(p for p in obj.status.parents if p.controller_name != CONTROLLER)
    ours = tuple(
        _parent(each, read, len(obj.spec.rules), before, _at(obj), now, refused)
        for each in attachments
    )
    return replace(obj.status, parents=(*others, *ours))


def _parent(
    attached: Attachment,
    read: Read,
    rules: int,
    before: dict[ParentReference, RouteParentStatus],
    at: int,
    now: str,
    refused: str,
) -> RouteParentStatus:
    said: list[Said] = []
    wrong = "; ".join(read.unsupported.values())
    accepted = attached.reason == "Accepted"
    if accepted and wrong and len(read.unsupported) == rules:
        said.append(("Accepted", False, "UnsupportedValue", wrong))
    elif accepted and refused:
        said.append(("Accepted", False, "UnsupportedValue", f"HAProxy refuses it: {refused}"))
    else:
        said.append(("Accepted", accepted, attached.reason, attached.message))
        if accepted and wrong:
            said.append(("PartiallyInvalid", True, "UnsupportedValue", f"Dropped Rule: {wrong}"))
    if read.refs is None:
        said.append(("ResolvedRefs", True, "ResolvedRefs", "all references lead somewhere"))
    else:
        said.append(("ResolvedRefs", False, *read.refs))
    known = before.get(attached.ref)
    return RouteParentStatus(
        parent_ref=attached.ref,
        controller_name=CONTROLLER,
        conditions=_conditions(known.conditions if known else (), said, at, now),
    )


def _at(obj: GatewayClass | Gateway | HTTPRoute) -> int:
    return obj.metadata.generation


def _conditions(
    before: tuple[Condition, ...], said: Iterable[Said], at: int, now: str
) -> tuple[Condition, ...]:
    """A condition keeps its time as long as its status stays."""
    made = []
    for type_, good, reason, message in said:
        status = "True" if good else "False"
        old = meta.condition(before, type_)
        since = old.last_transition_time if old is not None and old.status == status else now
        made.append(
            Condition(
                type=type_,
                status=status,
                reason=reason,
                message=message,
                observed_generation=at,
                last_transition_time=since,
            )
        )
    return tuple(made)
