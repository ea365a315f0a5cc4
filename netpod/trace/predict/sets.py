"""Whether a packet is in an ipset, as the iptables match `set` asks (pure).

Source: iptables-extensions(8) set; ipset(8).
"""

from ipaddress import ip_network

from netpod.trace.predict.packet import Here, Mock


def matches(value: str, packet: Mock, here: Here) -> bool | None:
    """Look a packet up.

    Args:
        value: Name of the set and flags, e.g. "KUBE-CLUSTER-IP dst,dst".
        packet: The packet.
        here: Where it is; `sets` are those of the namespace.

    Returns:
        None when there is no such set, or its type is not known here.
    """
    name, _, flags = value.partition(" ")
    if name not in here.sets:
        return None
    kind, members = here.sets[name]
    dimensions = kind.partition(":")[2].split(",")
    ways = flags.split(",")
    if len(ways) != len(dimensions) or not set(dimensions) <= {"ip", "port", "net"}:
        return None
    parts = [_part(kind, d, way, packet) for d, way in zip(dimensions, ways, strict=True)]
    if "net" not in dimensions:
        return ",".join(parts) in members
    # kube-proxy's only set of networks has them last.
    head, source = ",".join(parts[:-1]), parts[-1]
    networks = (m.rpartition(",") for m in members)
    return any(place == head and _within(source, network) for place, _, network in networks)


def _part(kind: str, dimension: str, way: str, packet: Mock) -> str:
    source = way == "src"
    if dimension != "port":
        return str(packet.source if source else packet.destination)
    port = packet.source_port if source else packet.destination_port
    return str(port) if kind.startswith("bitmap:") else f"{packet.protocol}:{port}"


def _within(address: str, network: str) -> bool:
    return ip_network(address).subnet_of(ip_network(network))  # type: ignore[arg-type]
