"""What a Gateway's listeners are worth: which are served, with which certificates, and what to say of each (pure).

Source: Gateway API reference, Listener, ListenerConditionType and ListenerConditionReason.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from netpod.api.core import Secret
from netpod.api.gateway import GROUP, Gateway, Listener, ObjectRef, ReferenceGrant, RouteGroupKind
from netpod.api.meta import Key
from netpod.ingress import certificate
from netpod.ingress.certificate import UnusableError
from netpod.ingress.gateway import references

PROTOCOLS = ("HTTP", "HTTPS")
HTTP_ROUTE = RouteGroupKind(group=GROUP, kind="HTTPRoute")


@dataclass(slots=True)
class Reviewed:
    """A listener and what is known of it.

    Attributes:
        listener: As its Gateway has it.
        kinds: Kinds of routes it takes.
        wrong: (reason, message) by condition, of those that are not as they should be.
        pems: PEM of its certificates.
        routes: Routes attached; counted by plan.py.
    """

    listener: Listener
    kinds: tuple[RouteGroupKind, ...] = (HTTP_ROUTE,)
    wrong: dict[str, tuple[str, str]] = field(default_factory=dict)
    pems: tuple[str, ...] = ()
    routes: int = 0

    @property
    def served(self) -> bool:
        """Whether HAProxy listens for it. A wrong kind of routes leaves the right kind in service."""
        reason, _ = self.wrong.get("ResolvedRefs", ("", ""))
        return "Accepted" not in self.wrong and reason in ("", "InvalidRouteKinds")


@dataclass(slots=True)
class Known:
    """What listeners refer to, and what they turned out to depend on.

    Attributes:
        secrets: By key.
        grants: All ReferenceGrants.
        now: UTC.
        named: Secrets that listeners name.
        changes: When a certificate begins or ends to be valid next.
    """

    secrets: Mapping[Key, Secret]
    grants: Sequence[ReferenceGrant]
    now: datetime
    named: set[Key] = field(default_factory=set)
    changes: datetime | None = None


def review(gateway: Gateway, known: Known) -> list[Reviewed]:
    """Look at each listener of a Gateway; of listeners that cannot live together the first is served."""
    reviewed: list[Reviewed] = []
    protocols: dict[int, str] = {}
    taken: set[tuple[int, str]] = set()
    for listener in gateway.spec.listeners:
        one = Reviewed(listener=listener)
        reviewed.append(one)
        _kinds(one)
        if listener.protocol not in PROTOCOLS:
            one.kinds = ()
            said = f"protocol {listener.protocol} is not served; HTTP and HTTPS are"
            one.wrong["Accepted"] = ("UnsupportedProtocol", said)
            continue
        other = protocols.setdefault(listener.port, listener.protocol)
        place = (listener.port, listener.hostname)
        if other != listener.protocol:
            said = f"port {listener.port} already speaks {other}"
            one.wrong["Conflicted"] = ("ProtocolConflict", said)
            one.wrong["Accepted"] = ("PortUnavailable", said)
            continue
        if place in taken:
            said = f"port {listener.port} already has a listener for hostname {listener.hostname or '*'}"
            one.wrong["Conflicted"] = ("HostnameConflict", said)
            one.wrong["Accepted"] = ("PortUnavailable", said)
            continue
        taken.add(place)
        if listener.protocol == "HTTPS":
            _certificates(gateway, one, known)
    return reviewed


def _kinds(one: Reviewed) -> None:
    allowed = one.listener.allowed_routes
    if allowed is None or not allowed.kinds:
        return
    unknown = [k for k in allowed.kinds if (k.group, k.kind) != (GROUP, HTTP_ROUTE.kind)]
    one.kinds = (HTTP_ROUTE,) if len(unknown) < len(allowed.kinds) else ()
    if unknown:
        names = ", ".join(f"{k.group or ''}/{k.kind}" for k in unknown)
        said = f"routes of kind {names} are not served; HTTPRoutes are"
        one.wrong["ResolvedRefs"] = ("InvalidRouteKinds", said)


def _certificates(gateway: Gateway, one: Reviewed, known: Known) -> None:
    tls = one.listener.tls
    refs: Iterable[ObjectRef] = tls.certificate_refs if tls is not None else ()
    pems: list[str] = []
    for ref in refs:
        own = gateway.metadata.namespace
        key = Key(ref.namespace or own, ref.name)
        if (ref.group or "", ref.kind or "Secret") != ("", "Secret"):
            said = f"{ref.group or ''}/{ref.kind} {key} is no Secret"
            one.wrong["ResolvedRefs"] = ("InvalidCertificateRef", said)
            continue
        known.named.add(key)
        if not references.granted(known.grants, "Gateway", own, ref, key.namespace):
            said = f"no ReferenceGrant in namespace {key.namespace} lets Gateways of {own} name Secret {key}"
            one.wrong["ResolvedRefs"] = ("RefNotPermitted", said)
            continue
        try:
            found = certificate.of(known.secrets.get(key))
            for moment in (found.begins, found.ends):
                if moment > known.now and (known.changes is None or moment < known.changes):
                    known.changes = moment
            found.check(known.now)
        except UnusableError as error:
            one.wrong["ResolvedRefs"] = ("InvalidCertificateRef", f"Secret {key} {error}")
            continue
        pems.append(found.pem)
    one.pems = tuple(pems)
    if not pems and "ResolvedRefs" not in one.wrong:
        said = "an HTTPS listener needs a certificate in tls.certificateRefs"
        one.wrong["ResolvedRefs"] = ("InvalidCertificateRef", said)
