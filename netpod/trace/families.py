"""Which of several addresses a trace takes: the first of a family that was asked for, else the first of all."""

from collections.abc import Iterable
from ipaddress import ip_address

from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.service import Service
from netpod.errors import UsageError
from netpod.ip import Address, Family, family_of
from netpod.trace.objects import ClusterObjects, load_balancer_ips

RECORDS = {Family.IPV6: "AAAA", Family.IPV4: "A"}
"""Types of DNS records with an address."""
FLAGS = {Family.IPV4: "-4", Family.IPV6: "-6"}
"""What chooses a family, as with ping and curl."""


def choose(texts: Iterable[str], what: str, family: Family | None = None) -> Address:
    """The first address among some, of a family if one is asked for.

    Args:
        texts: Addresses, the primary first.
        what: Whose they are, as the user wrote it.
        family: None is any.

    Raises:
        UsageError: there is none.
    """
    known = among(texts)
    found = [it for it in known if family in (None, family_of(it))]
    if found:
        return found[0]
    if family is None or not known:
        raise UsageError(f"cannot trace {what}: it has no address")
    raise UsageError(f"cannot trace {what} over {family}: it has {known[0]} only")


def among(texts: Iterable[str]) -> list[Address]:
    """The addresses among some texts, of both families, in their order."""
    found: list[Address] = []
    for text in texts:
        try:
            found.append(ip_address(text))
        except ValueError:
            continue
    return found


def cluster_ips(service: Service) -> tuple[str, ...]:
    """A Service's cluster IPs, the primary first; none for a headless one."""
    found = service.spec.cluster_ips or (service.spec.cluster_ip,)
    return tuple(it for it in found if it not in ("", "None"))


def pod_ips(pod: Pod) -> tuple[str, ...]:
    """A pod's addresses, the primary first."""
    return tuple(it.ip for it in pod.status.pod_ips) or tuple(filter(None, (pod.status.pod_ip,)))


def node_ips(node: Node) -> tuple[str, ...]:
    """A node's own addresses, the primary first."""
    return tuple(it.address for it in node.status.addresses if it.type == "InternalIP")


def choice(objects: ClusterObjects, taken: Address) -> str:
    """Say that an address was chosen of those of both families that its owner has; "" where there was no choice."""
    text = str(taken)
    service = objects.service_by_cluster_ip(taken) or objects.service_by_external_ip(taken)
    owned: tuple[str, ...] = ()
    if service is not None:
        own = cluster_ips(service)
        owned = own if text in own else load_balancer_ips(service)
    elif (node := objects.node_by_ip(taken)) is not None:
        owned = node_ips(node)
    elif (pod := objects.pod_by_ip(taken)) is not None:
        owned = pod_ips(pod)
    other = next((it for it in among(owned) if family_of(it) is not family_of(taken)), None)
    if other is None:
        return ""
    which = "its first family" if text == owned[0] else "its second family"
    return f"{family_of(taken)}, {which}; {FLAGS[family_of(other)]} takes {other}"
