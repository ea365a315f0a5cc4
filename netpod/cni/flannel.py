"""What flannel's two backends have in common: names, sizes, and what a node tells the others for them (pure).

Source: flannel pkg/subnet/kube (annotations), pkg/backend/vxlan.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_network

import orjson

from netpod.ip import Address, Family, Network, address_of, by_family, family_of

UNDERLAY_MTU = 1500
VNI = 1
PORT = 8472
"""Linux' and flannel's; IANA's is 4789."""
OVERHEAD = {Family.IPV4: 50, Family.IPV6: 70}
"""Bytes that each packet grows by: outer IP header, UDP, VXLAN, inner Ethernet."""
LINKS = {Family.IPV4: "flannel.1", Family.IPV6: "flannel-v6.1"}
_PREFIX = "flannel.alpha.coreos.com"
_DATA = {Family.IPV4: f"{_PREFIX}/backend-data", Family.IPV6: f"{_PREFIX}/backend-v6-data"}
_PUBLIC = {Family.IPV4: f"{_PREFIX}/public-ip", Family.IPV6: f"{_PREFIX}/public-ipv6"}


class Backend(StrEnum):
    """`--pod-network`: plain routes between nodes on one wire, or an overlay over any network between them."""

    HOST_GW = "host-gw"
    VXLAN = "vxlan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A node as others send to it: its pod CIDR, its address, and in the overlay its flannel.1's MAC address."""

    pod_cidr: Network
    node_ip: Address
    mac: str = ""


def mtu(backend: Backend, families: Collection[Family]) -> int:
    """MTU of pods, in bytes."""
    if backend is Backend.VXLAN:
        return UNDERLAY_MTU - max(OVERHEAD[it] for it in families)
    return UNDERLAY_MTU


def annotations(
    backend: Backend, node_ips: Sequence[Address], macs: Mapping[Family, str]
) -> dict[str, str]:
    """What a Node says of itself to the others, as flannel writes it.

    Args:
        backend: Which of the two.
        node_ips: The node's addresses.
        macs: Of its VXLAN links.
    """
    found = {f"{_PREFIX}/backend-type": backend.value, f"{_PREFIX}/kube-subnet-manager": "true"}
    for family, address in by_family(node_ips).items():
        data = "null"
        if backend is Backend.VXLAN:
            data = orjson.dumps({"VNI": VNI, "VtepMAC": macs[family]}).decode()
        found[_DATA[family]] = data
        found[_PUBLIC[family]] = str(address)
    return found


def peers(said: Mapping[str, str], pod_cidrs: Sequence[str]) -> Iterator[Peer]:
    """Yield what a Node's annotations and pod CIDRs say; a family that is not wholly there is left out."""
    for pod_cidr in map(ip_network, pod_cidrs):
        family = family_of(pod_cidr)
        address = address_of(said.get(_PUBLIC[family], ""), family)
        mac = _mac(said.get(_DATA[family], ""))
        if address is not None and mac:
            yield Peer(pod_cidr=pod_cidr, node_ip=address, mac=mac)


def _mac(data: str) -> str:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return ""
    return str(found.get("VtepMAC", "")) if isinstance(found, dict) else ""
