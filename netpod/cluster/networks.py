"""A cluster's five networks, each of one or two address families: what they are by default and what they may be.

As in kubeadm and kind, two networks of one thing are written with a comma: 10.244.0.0/16,fd00:10:244::/56.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_network

from netpod.errors import UsageError
from netpod.ip import Family, Network, family_of

NAMES = {
    "outside_cidr": "outside",
    "underlay_cidr": "underlay",
    "pod_cidr": "pod",
    "service_cidr": "service",
    "lb_cidr": "load balancer",
}
FAMILIES = {
    "ipv4": (Family.IPV4,),
    "ipv6": (Family.IPV6,),
    "dual": (Family.IPV4, Family.IPV6),
}
"""What `ipFamily` may be, in kind's words."""

NODE_PREFIX = {Family.IPV4: 24, Family.IPV6: 64}
"""Length of a node's share of the pod network. Source: --node-cidr-mask-size-ipv4, --node-cidr-mask-size-ipv6."""

_DEFAULTS = {
    Family.IPV4: {
        "outside_cidr": "203.0.113.0/24",
        "underlay_cidr": "172.18.0.0/16",
        "pod_cidr": "10.244.0.0/16",
        "service_cidr": "10.96.0.0/16",
        "lb_cidr": "198.51.100.0/24",
    },
    # The first two and the last are for documentation, the others unique local ones, and kind's.
    Family.IPV6: {
        "outside_cidr": "2001:db8:203:113::/64",
        "underlay_cidr": "fc00:f853:ccd:e793::/64",
        "pod_cidr": "fd00:10:244::/56",
        "service_cidr": "fd00:10:96::/112",
        "lb_cidr": "2001:db8:198:51::/112",
    },
}
_SMALLEST = {
    Family.IPV4: {
        "outside_cidr": 28,
        "underlay_cidr": 29,
        "pod_cidr": 23,
        "service_cidr": 26,
        "lb_cidr": 30,
    },
    Family.IPV6: {
        "outside_cidr": 124,
        "underlay_cidr": 125,
        "pod_cidr": 63,
        "service_cidr": 122,
        "lb_cidr": 126,
    },
}
_SERVICE_BITS = 20
"""Most bits that tell Services apart. Source: kubernetes cmd/kube-apiserver/app/options/validation.go."""


def parse(text: str) -> tuple[Network, ...]:
    """The networks of one thing, in the order in which they are written.

    Raises:
        ValueError: one is none.
    """
    return tuple(ip_network(part.strip()) for part in text.split(","))


def complete(ip_family: str, named: Mapping[str, str]) -> dict[str, str]:
    """The five networks with the default one of every family that was not named; what is no network stays."""
    families = FAMILIES.get(ip_family, ())
    found = {}
    for field, text in named.items():
        parts = [part.strip() for part in text.split(",") if part.strip()]
        have = {Family.IPV6 if ":" in part else Family.IPV4 for part in parts}
        if all("/" in part for part in parts):
            parts += [_DEFAULTS[it][field] for it in families if it not in have]
        found[field] = ",".join(parts)
    return found


def check(
    ip_family: str,
    named: Mapping[str, str],
    host_routes: Sequence[tuple[Network, str]] = (),
) -> None:
    """Raise unless a cluster can have these networks.

    Args:
        ip_family: "ipv4", "ipv6" or "dual".
        named: The networks as text, by field.
        host_routes: The machine's routes as (destination, link), to be kept clear of.

    Raises:
        UsageError: which field, what was found, what is allowed.
    """
    if ip_family not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise UsageError(f"cannot use IP family {ip_family!r} (--ip-family): there are {known}")
    taken: list[tuple[Network, str]] = []
    for field, what in NAMES.items():
        text, about = named[field], f"{what} network {named[field]!r} ({_option(field)})"
        try:
            networks = parse(text)
        except ValueError as error:
            raise UsageError(f"cannot use {about}: {error}") from None
        if sorted(map(family_of, networks)) != list(FAMILIES[ip_family]):
            words = {"dual": "one IPv4 and one IPv6 network", "ipv4": "one IPv4 network"}
            wanted = words.get(ip_family, "one IPv6 network")
            raise UsageError(f"cannot use {about}: IP family {ip_family} needs {wanted}")
        for network in networks:
            _check_one(field, network, taken, host_routes)
            taken.append((network, what))


def _check_one(
    field: str,
    network: Network,
    taken: Sequence[tuple[Network, str]],
    host_routes: Sequence[tuple[Network, str]],
) -> None:
    about = f"{NAMES[field]} network {network}"
    named = f"cannot use {about} ({_option(field)})"
    if (
        network.is_loopback
        or network.is_multicast
        or network.is_link_local
        or not int(network.network_address)
    ):
        raise UsageError(f"{named}: no loopback, link-local or multicast addresses")
    largest = network.max_prefixlen - _SERVICE_BITS
    if field == "service_cidr" and network.prefixlen < largest:
        raise UsageError(f"{named}: too large, at most /{largest}")
    smallest = _SMALLEST[family_of(network)][field]
    if network.prefixlen > smallest:
        raise UsageError(f"{named}: too small, at least /{smallest}")
    for other, what in taken:
        if _overlap(network, other):
            raise UsageError(f"{named}: it overlaps the {what} network {other}")
    for route, link in host_routes:
        if route.prefixlen and _overlap(network, route):
            raise UsageError(
                f"cannot use {about}: it overlaps this machine's route {route} "
                f"dev {link}; choose another with {_option(field)}"
            )


def check_room(
    named: Mapping[str, str], nodes: int, prefixes: Mapping[Family, int] = NODE_PREFIX
) -> None:
    """Raise unless that many nodes can have their addresses and their shares of the pod networks.

    Raises:
        UsageError: there are more nodes than that.
    """
    for network in parse(named["pod_cidr"]):
        share = prefixes[family_of(network)]
        room = 2 ** max(0, share - network.prefixlen)
        if nodes > room:
            raise UsageError(
                f"cannot use pod network {network} (--pod-cidr): {nodes} nodes need a /{share} "
                f"each, it holds {room}"
            )
    for network in parse(named["underlay_cidr"]):
        if nodes + 2 >= network.num_addresses:
            raise UsageError(
                f"cannot use underlay network {network} (--underlay-cidr): too small for "
                f"{nodes} nodes"
            )


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _option(field: str) -> str:
    return "--" + field.replace("_", "-")
