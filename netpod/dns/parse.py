"""The grammar of cluster names (pure).

Below the zone, from the right; labels are compared in lower case:

    1. ZONE                                    the apex
    2. dns-version.ZONE                        version of this schema
    3. dns.ZONE, ns.dns.ZONE                   the name server itself
    4. svc.ZONE, pod.ZONE                      nothing but the way to what is below
    5. NAMESPACE.svc.ZONE, NAMESPACE.pod.ZONE  the same
    6. SERVICE.NAMESPACE.svc.ZONE              a Service
    7. ENDPOINT.SERVICE.NAMESPACE.svc.ZONE     one endpoint: its hostname, or its address with dashes
    8. _PORT._PROTO.SERVICE.NAMESPACE.svc.ZONE a named port of a Service
    9. ADDRESS.NAMESPACE.pod.ZONE              a pod by its address with dashes: 10-244-1-5, fd00--5

    reverse: d.c.b.a.in-addr.arpa, and 32 nibbles below ip6.arpa

Anything else below the zone names nothing.

Source: Kubernetes DNS-based service discovery 1.1.0; CoreDNS plugin/kubernetes/parse.go.
"""

import ipaddress
from dataclasses import dataclass

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Apex:
    """The zone itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """dns-version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameServer:
    """The name the zone's NS record points to; `above` is the name on the way to it."""

    above: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A name on the way: `namespace` must exist, unless it is ""."""

    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceName:
    """A Service, one of its endpoints, or one of its named ports (`protocol` in lower case)."""

    namespace: str
    service: str
    endpoint: str = ""
    port: str = ""
    protocol: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodName:
    """A pod by its address."""

    namespace: str
    address: IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverse:
    """An address whose name is asked for."""

    address: IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A name below the zone that means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """A name that is not ours."""


Name = Apex | Version | NameServer | Branch | ServiceName | PodName | Reverse | Unknown | Outside


def parse(qname: str, zone: str) -> Name:
    """Say what a name means.

    Args:
        qname: In lower case, without the last dot; "" is the root.
        zone: E.g. "cluster.local".
    """
    if qname == zone:
        return Apex()
    if qname.endswith("." + zone):
        return _below(qname[: -len(zone) - 1].split("."))
    address = reverse(qname)
    return Reverse(address=address) if address is not None else Outside()


def _below(labels: list[str]) -> Name:
    match labels:
        case ["dns-version"]:
            return Version()
        case ["dns"]:
            return NameServer(above=True)
        case ["ns", "dns"]:
            return NameServer()
        case ["svc"] | ["pod"]:
            return Branch()
        case [namespace, "svc" | "pod"]:
            return Branch(namespace=namespace)
        case [service, namespace, "svc"]:
            return ServiceName(namespace=namespace, service=service)
        case [port, protocol, service, namespace, "svc"] if port[:1] == protocol[:1] == "_":
            return ServiceName(
                namespace=namespace, service=service, port=port[1:], protocol=protocol[1:]
            )
        case [endpoint, service, namespace, "svc"]:
            return ServiceName(namespace=namespace, service=service, endpoint=endpoint)
        case [address, namespace, "pod"]:
            found = from_dashes(address)
            return PodName(namespace=namespace, address=found) if found else Unknown()
        case _:
            return Unknown()


def dashes(address: str) -> str:
    """Return an address as a label: 10.244.1.5 -> 10-244-1-5, fd00::5 -> fd00--5."""
    return address.replace(".", "-").replace(":", "-")


def from_dashes(label: str) -> IPAddress | None:
    """Return the address a label stands for, the reverse of `dashes`."""
    for separator in ".:":
        try:
            return ipaddress.ip_address(label.replace("-", separator))
        except ValueError:
            continue
    return None


def reverse(qname: str) -> IPAddress | None:
    """Return the address a name of in-addr.arpa or ip6.arpa stands for, when it is a whole one."""
    labels = qname.split(".")
    try:
        if labels[-2:] == ["in-addr", "arpa"] and len(labels) == 6:
            return ipaddress.IPv4Address(".".join(reversed(labels[:4])))
        if labels[-2:] == ["ip6", "arpa"] and len(labels) == 34:
            digits = "".join(reversed(labels[:32]))
            if len(digits) == 32:
                return ipaddress.IPv6Address(int(digits, 16))
    except ValueError:
        return None
    return None


def reverse_name(address: IPAddress) -> str:
    """Return the name of an address' PTR record, without the last dot."""
    return address.reverse_pointer
