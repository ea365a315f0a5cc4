"""Causes of a packet's death, and which kernel reason, ICMP message or counter means which (tables; pure).

Source: Linux include/net/dropreason-core.h, Documentation/networking/snmp_counter.rst; RFC 792; RFC 1812 section 5.2.7;
RFC 4443 section 3.
"""

from netpod.ip import Family
from netpod.trace.clues import IcmpError
from netpod.trace.model import Verdict

_WORDS = {
    "no-route": "dropped it: no route to the destination",
    "blackhole": "dropped it: a blackhole or unreachable route covers the destination",
    "rp-filter": "dropped it: reverse path filter, the source is not reached through that interface",
    "ip-forward": "dropped it: it does not forward (ip_forward is 0) and the address is not its own",
    "ttl": "dropped it: its time to live ran out here",
    "mtu": "dropped it: too big for the next link, and it may not be fragmented",
    "neighbour": "dropped it: the next hop does not answer ARP",
    "no-listener": "refused it: nothing listens on that port",
    "backlog": "dropped it: the listener's backlog is full",
    "netfilter": "dropped it: a netfilter hook said so, which rule is not known",
    "prohibited": "refused it: administratively prohibited",
    "host-unreachable": "said that the host is unreachable",
    "receive-buffer": "dropped it: the socket's receive buffer is full",
    "queue": "dropped it: the link's queue is full or shaped",
    "martian": "dropped it: the source address cannot come from there",
    "link-down": "dropped it: a link is down",
    "hairpin": "dropped it: the bridge does not send it back where it came from",
    "checksum": "dropped it: bad checksum",
    "fragment": "lost fragments of it: without them it cannot be put together",
    "policy": "dropped it: no policy or state allows it",
}
_WORDS_SIX = {
    "neighbour": "dropped it: the next hop does not answer neighbour solicitations",
    "ip-forward": "dropped it: it does not forward (forwarding is 0) and the address is not its own",
    "ttl": "dropped it: its hop limit ran out here",
    "mtu": "dropped it: too big for the next link, and routers do not fragment IPv6",
}
"""Where IPv6 has other words."""
_REFUSED = {"no-listener", "prohibited"}
HARMLESS = frozenset((
    "NOT_DROPPED_YET", "CONSUMED", "OTHERHOST", "QUEUE_PURGE", "TCP_OLD_SEQUENCE", "TCP_TW_PAWS",
    "TCP_ABORT_ON_DATA", "TCP_CLOSE", "TCP_OLD_ACK", "PACKET_SOCK_ERROR",
))  # fmt: skip
"""Reasons that a request in good health shows too, or that mean another's copy."""

_REASONS = {
    "NETFILTER_DROP": "netfilter",
    "NO_SOCKET": "no-listener",
    "IP_INNOROUTES": "no-route",
    "IP_OUTNOROUTES": "no-route",
    "IP_RPFILTER": "rp-filter",
    "IP_INADDRERRORS": "ip-forward",
    "IP_INHDR": "ttl",
    "PKT_TOO_BIG": "mtu",
    "NEIGH_FAILED": "neighbour",
    "NEIGH_CREATEFAIL": "neighbour",
    "NEIGH_QUEUEFULL": "neighbour",
    "NEIGH_DEAD": "neighbour",
    "SOCKET_RCVBUFF": "receive-buffer",
    "SOCKET_BACKLOG": "backlog",
    "TCP_LISTEN_OVERFLOW": "backlog",
    "QDISC_DROP": "queue",
    "FULL_RING": "queue",
    "IP_LOCAL_SOURCE": "martian",
    "IP_INVALID_SOURCE": "martian",
    "IP_LOCALNET": "martian",
    "IP_INVALID_DEST": "no-route",
    "DEV_READY": "link-down",
    "TCP_CSUM": "checksum",
    "UDP_CSUM": "checksum",
    "IP_CSUM": "checksum",
    "FRAG_REASM_TIMEOUT": "fragment",
}
_FUNCTIONS = (
    ("ip_error", "blackhole"),
    ("tcp_conn_request", "backlog"),
    ("tcp_v4_syn_recv_sock", "backlog"),
    ("tcp_v6_syn_recv_sock", "backlog"),
    ("ndisc_error_report", "neighbour"),
    ("neigh_invalidate", "neighbour"),
    ("ip6_pkt_discard", "no-route"),
    ("ip_forward", "mtu"),
)
"""What a function that gives no reason drops for."""
_COUNTERS = {
    "TcpExt.ListenOverflows": "backlog",
    "TcpExt.ListenDrops": "backlog",
    "TcpExt.TCPReqQFullDrop": "backlog",
    "TcpExt.IPReversePathFilter": "rp-filter",
    "Ip.OutNoRoutes": "no-route",
    "IpExt.InNoRoutes": "no-route",
    "Ip.InAddrErrors": "ip-forward",
    "Ip.FragFails": "mtu",
    "Icmp.OutTimeExcds": "ttl",
    "Udp.NoPorts": "no-listener",
    "Udp.RcvbufErrors": "receive-buffer",
    "Ip6OutNoRoutes": "no-route",
    "Ip6InNoRoutes": "no-route",
    "Ip6InAddrErrors": "ip-forward",
    "Ip6InTooBigErrors": "mtu",
    "Icmp6OutPktTooBigs": "mtu",
    "Icmp6OutTimeExcds": "ttl",
    "Udp6NoPorts": "no-listener",
    "Udp6RcvbufErrors": "receive-buffer",
}
_UNREACHABLE = {
    0: "no-route", 1: "host-unreachable", 3: "no-listener", 4: "mtu",
    9: "prohibited", 10: "prohibited", 13: "prohibited",
}  # fmt: skip
_SIX = {
    (1, 0): "no-route", (1, 1): "prohibited", (1, 2): "no-route", (1, 3): "host-unreachable", (1, 4): "no-listener",
    (1, 5): "prohibited", (1, 6): "no-route", (2, 0): "mtu", (3, 0): "ttl",
}  # fmt: skip
"""Type and code of ICMPv6 errors; 6 is what a reject route says."""


def words(cause: str, family: Family) -> str:
    """Return what a namespace did to a packet of a family, e.g. "dropped it: no route to the destination"."""
    six = _WORDS_SIX.get(cause) if family is Family.IPV6 else None
    return six or _WORDS[cause]


def of_reason(reason: str, function: str) -> str:
    """Return the cause behind a drop reason, or "" when it says nothing."""
    if reason in _REASONS:
        return _REASONS[reason]
    return next((cause for name, cause in _FUNCTIONS if function.startswith(name)), "")


def of_icmp(error: IcmpError) -> str:
    """Return the cause behind an ICMP error, or ""."""
    if error.sender.version == 6:
        return _SIX.get((error.type, error.code), "")
    if error.type == 3:
        return _UNREACHABLE.get(error.code, "")
    return {(11, 0): "ttl", (11, 1): "fragment"}.get((error.type, error.code), "")


def of_counter(name: str) -> str:
    """Return the cause behind a counter, or ""."""
    return _COUNTERS.get(name, "")


def verdict(cause: str) -> Verdict:
    """Return whether a cause refuses (the sender is told) or drops."""
    return Verdict.REFUSED if cause in _REFUSED else Verdict.DROPPED
