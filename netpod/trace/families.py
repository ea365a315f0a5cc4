"""A trace follows IPv4: of several addresses the IPv4 one is taken, and where there is none, that is said."""

from collections.abc import Iterable
from ipaddress import IPv4Address

from netpod.api.pod import Pod
from netpod.api.service import Service
from netpod.errors import UsageError
from netpod.ip import Family, address_of


def ipv4_of(texts: Iterable[str], what: str) -> IPv4Address:
    """The first IPv4 address among some.

    Raises:
        UsageError: there are others only, or none.
    """
    known = [text for text in texts if text]
    found = ipv4_among(known)
    if found:
        return found[0]
    have = f"it has {known[0]} only" if known else "it has no address"
    raise UsageError(
        f"cannot trace {what}: traces follow IPv4, and {have}; netpod curl, rules, conntrack and policy know IPv6"
    )


def ipv4_among(texts: Iterable[str]) -> list[IPv4Address]:
    """The IPv4 addresses among some."""
    found = (address_of(text, Family.IPV4) for text in texts)
    return [it for it in found if isinstance(it, IPv4Address)]


def cluster_ips(service: Service) -> tuple[str, ...]:
    """A Service's cluster IPs, the primary first; none for a headless one."""
    found = service.spec.cluster_ips or (service.spec.cluster_ip,)
    return tuple(it for it in found if it not in ("", "None"))


def pod_ips(pod: Pod) -> tuple[str, ...]:
    """A pod's addresses, the primary first."""
    return tuple(it.ip for it in pod.status.pod_ips) or tuple(filter(None, (pod.status.pod_ip,)))
