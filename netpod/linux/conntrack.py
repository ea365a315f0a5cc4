"""Connection tracking: list and delete the flows of a network namespace.

A flow is kept as two tuples: `original`, as the first packet looked before any NAT, and `reply`, what an answer looks
like when it arrives, that is after NAT. A DNAT shows as reply.source differing from original.destination.

Source: kernel net/netfilter/nf_conntrack_netlink.c, uapi nfnetlink_conntrack.h; conntrack(8).
"""

import errno
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink.nfnetlink.nfctsocket import nfct_msg, nfct_stats

from netpod.ip import Address, Family, family_of
from netpod.linux import netlink

NETLINK_NETFILTER = 12
_CTNETLINK = 1 << 8
_NEW, _GET, _DELETE, _GET_STATS = 0, 1, 2, 5
_PROTO_NUM = 1 << 3

STATUS_SEEN_REPLY = 1 << 1
STATUS_ASSURED = 1 << 2
STATUS_CONFIRMED = 1 << 3
STATUS_SRC_NAT = 1 << 4
STATUS_DST_NAT = 1 << 5

PROTOCOLS = {
    socket.IPPROTO_ICMP: "icmp",
    socket.IPPROTO_TCP: "tcp",
    socket.IPPROTO_UDP: "udp",
    socket.IPPROTO_SCTP: "sctp",
    socket.IPPROTO_ICMPV6: "icmpv6",
}
_ECHO = {socket.IPPROTO_ICMP: ("ICMP", 8), socket.IPPROTO_ICMPV6: ("ICMPV6", 128)}
"""Name in attributes, and type of an echo request."""
TCP_STATES = (
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuple:
    """One direction of a flow; ports are 0 for a protocol without, `icmp_id` is 0 for all but ICMP."""

    source: Address
    destination: Address
    source_port: int = 0
    destination_port: int = 0
    icmp_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One entry of the connection tracking table.

    Attributes:
        protocol: "tcp", "udp", "icmp", "icmpv6", "sctp", or the number as text.
        original: The first packet, before NAT.
        reply: An answer, as it arrives.
        status: OR of STATUS_*.
        mark: The connection's mark.
        timeout: Seconds until it is forgotten unless a packet comes.
        state: A TCP connection's state, e.g. "ESTABLISHED", else "".
        id: Number that tells it from an earlier flow of the same tuples.
    """

    protocol: str
    original: Tuple
    reply: Tuple
    status: int
    mark: int
    timeout: int
    state: str
    id: int


def count(netns: str) -> int:
    """How many flows a network namespace has, of all families.

    Raises:
        Unsupported: this kernel has no connection tracking.
    """
    message, what = _message(Family.IPV4), "count conntrack flows"
    request = netlink.encode(message, _CTNETLINK | _GET_STATS, netlink.NLM_F_ACK, what)
    with netlink.Socket(netns, NETLINK_NETFILTER) as channel:
        found = channel.dump(request, nfct_stats)
    return int(found[0].get_attr("CTA_STATS_GLOBAL_ENTRIES")) if found else 0


def observe(netns: str, *, protocol: str = "", family: Family = Family.IPV4) -> list[Flow]:
    """Flows of one address family in a network namespace, of one protocol or all.

    Raises:
        Unsupported: this kernel has no connection tracking.
    """
    message = _message(family)
    if protocol:
        number = _number(protocol)
        # The kernel filters: user space need not look at a hundred thousand TCP flows to find ten UDP ones.
        message["attrs"] = [
            ("CTA_TUPLE_ORIG", {"attrs": [_protocol_attribute(number)]}),
            ("CTA_FILTER", {"attrs": [("CTA_FILTER_ORIG_FLAGS", _PROTO_NUM)]}),
        ]
    what = "list conntrack flows"
    request = netlink.encode(message, _CTNETLINK | _GET, netlink.NLM_F_DUMP, what)
    with netlink.Socket(netns, NETLINK_NETFILTER) as channel:
        flows = map(_flow, channel.dump(request, nfct_msg))
        return [flow for flow in flows if not protocol or flow.protocol == protocol]


def delete(
    netns: str,
    match: Callable[[Flow], bool],
    *,
    protocol: str = "",
    family: Family = Family.IPV4,
) -> int:
    """Forget every flow that matches; one that is gone meanwhile counts too.

    The next packet of such a flow meets the rules as if it were the first.

    Args:
        netns: Where.
        match: Which flows.
        protocol: Look only at this protocol's.
        family: Look only at this family's.

    Returns:
        How many.
    """
    doomed = [flow for flow in observe(netns, protocol=protocol, family=family) if match(flow)]
    with netlink.Socket(netns, NETLINK_NETFILTER) as channel:
        channel.send([_delete_message(flow) for flow in doomed])
    return len(doomed)


def _delete_message(flow: Flow) -> netlink.Message:
    number = _number(flow.protocol)
    family = family_of(flow.original.source)
    address = [
        (f"CTA_IP_V{family.version}_SRC", str(flow.original.source)),
        (f"CTA_IP_V{family.version}_DST", str(flow.original.destination)),
    ]
    if number in _ECHO:
        # An echo request; its answer's tuple would have another type.
        kind, echo = _ECHO[number]
        numbers = [
            (f"CTA_PROTO_{kind}_ID", flow.original.icmp_id),
            (f"CTA_PROTO_{kind}_TYPE", echo),
            (f"CTA_PROTO_{kind}_CODE", 0),
        ]
    else:
        numbers = [
            ("CTA_PROTO_SRC_PORT", flow.original.source_port),
            ("CTA_PROTO_DST_PORT", flow.original.destination_port),
        ]
    message = _message(family)
    tuple_attributes = [
        ("CTA_TUPLE_IP", {"attrs": address}),
        _protocol_attribute(number, numbers),
    ]
    message["attrs"] = [("CTA_TUPLE_ORIG", {"attrs": tuple_attributes}), ("CTA_ID", flow.id)]
    what = f"delete conntrack flow {flow.original}"
    return netlink.encode(message, _CTNETLINK | _DELETE, 0, what, [errno.ENOENT])


def _message(family: Family) -> Any:
    message = nfct_msg()
    message["nfgen_family"] = family.af
    message["version"] = 0
    return message


def _protocol_attribute(
    number: int, more: list[tuple[str, int]] | None = None
) -> tuple[str, dict[str, Any]]:
    return ("CTA_TUPLE_PROTO", {"attrs": [("CTA_PROTO_NUM", number), *(more or [])]})


def _number(protocol: str) -> int:
    for number, name in PROTOCOLS.items():
        if name == protocol:
            return int(number)
    assert protocol.isdigit(), f"{protocol} is no protocol of connection tracking"
    return int(protocol)


def _flow(message: Any) -> Flow:
    number, original = _tuple(message.get_attr("CTA_TUPLE_ORIG"))
    _, reply = _tuple(message.get_attr("CTA_TUPLE_REPLY"))
    state = ""
    info = message.get_attr("CTA_PROTOINFO")
    tcp = info.get_attr("CTA_PROTOINFO_TCP") if info else None
    if tcp:
        value = tcp.get_attr("CTA_PROTOINFO_TCP_STATE") or 0
        state = TCP_STATES[value] if value < len(TCP_STATES) else str(value)
    return Flow(
        protocol=PROTOCOLS.get(number, str(number)),
        original=original,
        reply=reply,
        status=message.get_attr("CTA_STATUS") or 0,
        mark=message.get_attr("CTA_MARK") or 0,
        timeout=message.get_attr("CTA_TIMEOUT") or 0,
        state=state,
        id=message.get_attr("CTA_ID") or 0,
    )


def _tuple(attribute: Any) -> tuple[int, Tuple]:
    address = attribute.get_attr("CTA_TUPLE_IP")
    numbers = attribute.get_attr("CTA_TUPLE_PROTO")
    return numbers.get_attr("CTA_PROTO_NUM"), Tuple(
        source=_address(address, "SRC"),
        destination=_address(address, "DST"),
        source_port=numbers.get_attr("CTA_PROTO_SRC_PORT") or 0,
        destination_port=numbers.get_attr("CTA_PROTO_DST_PORT") or 0,
        icmp_id=numbers.get_attr("CTA_PROTO_ICMP_ID")
        or numbers.get_attr("CTA_PROTO_ICMPV6_ID")
        or 0,
    )


def _address(attribute: Any, end: str) -> Address:
    text = attribute.get_attr(f"CTA_IP_V4_{end}") or attribute.get_attr(f"CTA_IP_V6_{end}")
    return ipaddress.ip_address(text)
