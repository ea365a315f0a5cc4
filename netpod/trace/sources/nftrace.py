"""Which rules a packet met: the kernel's own account, from nf_tables' trace events.

A packet is traced while its `nf_trace` bit is set. The table `inet netpod-trace` sets it for one flow and for nothing
else, so that no noise fills the buffer. The bit dies where a packet leaves its namespace: every namespace that holds
rules is armed. It also makes no difference to what the rules do.

Source: Linux net/netfilter/nf_tables_trace.c, include/uapi/linux/netfilter/nf_tables.h (NFTA_TRACE_*).
"""

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from netpod.ip import Family, family_of
from netpod.linux import netns, nft
from netpod.trace.model import Address, Flow
from netpod.trace.packet import HeaderKey, flow_of, header_of
from netpod.trace.sources import netlink

TABLE = "netpod-trace"
DOOR_RATE, DOOR_BURST = 500, 50
"""Other people's connections traced per second, and at once: some 20 events each; the buffer holds 6,000."""
NFNLGRP_NFTRACE = 9
NFT_MSG_TRACE = (10 << 8) | 17
_NFT_MSG_NEWTABLE, _NFT_MSG_GETTABLE = 10 << 8, (10 << 8) | 1
_NFPROTO_INET = 1
_VERDICTS = {
    0: "drop", 1: "accept", 2: "stolen", 3: "queue", 4: "repeat", 5: "stop",
    -1: "continue", -2: "break", -3: "jump", -4: "goto", -5: "return",
}  # fmt: skip
_FAMILIES = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}
_TABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _ID = 1, 2, 3, 4, 5, 6
_NETWORK, _TRANSPORT, _POLICY, _CT_ID = 8, 9, 16, 18
_TYPE_POLICY, _TYPE_RULE = 1, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEvent:
    """One rule, or one chain's policy (`handle` 0), that one packet met.

    Attributes:
        packet: Header key of the packet, or None when its headers were lost.
        flow: Its addresses and ports at the start of the base chain, or None.
        ct_id: Conntrack id on the first event of each base chain, on kernels that say so; else 0.
    """

    netns: str
    family: str
    table: str
    chain: str
    handle: int
    verdict: str
    target: str
    packet: HeaderKey | None
    flow: Flow | None = None
    ct_id: int = 0


def compile_table(
    client_port: int,
    reserved: tuple[int, int],
    doors: Sequence[Address] = (),
    *,
    protocol: str = "tcp",
) -> str:
    """Compile the arming table: one flow by the client's port, and the ports reserved for a traced upstream leg.

    Replies of a masqueraded flow carry neither port before NAT is undone, hence the second look after conntrack's
    (priority -200), by the port the connection began with. Applying it twice is the same as once.

    Beyond the node that masqueraded it nobody knows the flow's port. There the first packets of all connections to the
    `doors` (the destination's endpoints) are traced, at most DOOR_RATE of them: the request's own is found by its
    headers later. For protocols "icmp" and "icmpv6" the client's port is the id of its echo requests.
    """
    if protocol in ("icmp", "icmpv6"):
        by_port = f"{protocol} id {client_port} meta nftrace set 1"
        by_connection = _known(protocol, str(client_port))
    else:
        ports = f"{{ {client_port}, {reserved[0]}-{reserved[1]} }}"
        by_port = (
            f"{protocol} sport {ports} meta nftrace set 1\n"
            f"    {protocol} dport {ports} meta nftrace set 1"
        )
        both = (str(client_port), f"{reserved[0]}-{reserved[1]}")
        by_connection = "\n    ".join(_known(protocol, port) for port in both)
        by_connection += "".join(f"\n    {rule}" for rule in _arrivals(doors, protocol, protocol))
    return _table(by_port, by_connection)


def compile_range(low: int, high: int) -> str:
    """Compile an arming table for many flows at once: all that began with a source port, or id, from low to high."""
    matches = (
        *(f"{name} {way}" for name in ("tcp", "udp") for way in ("sport", "dport")),
        *(f"{name} id" for name in ("icmp", "icmpv6")),
    )
    by_port = "\n    ".join(f"{match} {low}-{high} meta nftrace set 1" for match in matches)
    known = (_known(name, f"{low}-{high}") for name in ("tcp", "udp", "icmp", "icmpv6"))
    return _table(by_port, "\n    ".join(known))


def compile_doors(doors: Sequence[Address]) -> str:
    """Compile an arming table for other people's connections: the first packets to some addresses, at DOOR_RATE."""
    rules = "\n    ".join(_arrivals(doors, "{ tcp, udp }", "th"))
    hooks = "".join(
        f"  chain {hook} {{\n    type filter hook {hook} priority -190; policy accept;\n    {rules}\n  }}\n"
        for hook in ("prerouting", "output")
    )
    return f"table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n{hooks}}}\n"


def _known(protocol: str, port: str) -> str:
    """The rule that traces a connection by the port, or id, with which it began."""
    name = "ipv6-icmp" if protocol == "icmpv6" else protocol
    return f"meta l4proto {name} ct original proto-src {port} meta nftrace set 1"


def _arrivals(doors: Sequence[Address], protocol: str, header: str) -> Iterator[str]:
    """The rules, one per family, that trace the first packets of new connections to some addresses."""
    for family in Family:
        pairs = ", ".join(
            f"{door.ip} . {door.port}" for door in doors if family_of(door.ip) is family
        )
        if pairs:
            yield (
                f"meta l4proto {protocol} {family.nft} daddr . {header} dport {{ {pairs} }} ct state new"
                f" limit rate {DOOR_RATE}/second burst {DOOR_BURST} packets meta nftrace set 1"
            )


def _table(by_port: str, by_connection: str) -> str:
    chains = (
        ("prerouting", "prerouting", -450, by_port),
        ("prerouting-connection", "prerouting", -190, by_connection),
        ("output", "output", -450, by_port),
    )
    body = "\n".join(
        f"  chain {name} {{\n    type filter hook {hook} priority {priority}; policy accept;\n"
        f"    {rules}\n  }}"
        for name, hook, priority, rules in chains
    )
    # "add" first, so that "delete" finds something: the three lines are one transaction.
    return f"table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n{body}\n}}\n"


def arm(netns_name: str, text: str) -> None:
    """Start tracing in a namespace. When it returns, the next packet is traced.

    Raises:
        CommandFailed: nft refused.
        Unsupported: nft is not installed.
    """
    nft.apply(netns_name, text)


def disarm(netns_name: str) -> None:
    """Stop tracing in a namespace; not armed: nothing to do.

    Raises:
        CommandFailed: nft refused.
    """
    # One transaction that succeeds whether the table was there or not.
    text = f"table inet {TABLE}\ndelete table inet {TABLE}\n"
    nft.apply(netns_name, text)


def armed(netns_name: str) -> bool:
    """Return whether the arming table is in a namespace: one netlink question, no program.

    Raises:
        KernelError: there is no such namespace.
    """
    sock = netns.socket_in(
        netns_name,
        socket.AF_NETLINK,
        socket.SOCK_RAW | socket.SOCK_CLOEXEC,
        netlink.NETLINK_NETFILTER,
    )
    with sock:
        sock.settimeout(1)
        name = TABLE.encode() + b"\0"
        body = struct.pack("!BBH", _NFPROTO_INET, 0, 0)
        body += struct.pack("HH", 4 + len(name), 1) + name + b"\0" * (-len(name) % 4)
        sock.send(struct.pack("IHHII", 16 + len(body), _NFT_MSG_GETTABLE, 1, 1, 0) + body)
        answers = list(netlink.messages(sock.recv(65536)))
    return bool(answers) and answers[0][0] == _NFT_MSG_NEWTABLE


class RuleTrace:
    """Trace events of one network namespace."""

    def __init__(self, netns_name: str) -> None:
        self._events = netlink.EventSocket(netns_name, (NFNLGRP_NFTRACE,))
        self.netns = netns_name
        self._current: _Headers = {}

    @property
    def lost(self) -> int:
        """How often the kernel dropped events because the buffer was full."""
        return self._events.lost

    def read(self) -> list[RuleEvent]:
        """Return every event waiting, in the order the packets met the rules; never blocks.

        The trace id is the address of the packet's buffer, used again and again: it is no identity. The first event
        of each base chain carries a copy of the headers, later ones belong to the last headers of their id.
        """
        if len(self._current) > _REMEMBERED:
            self._current.clear()
        bodies = (b for k, _, b in self._events.read() if k == NFT_MSG_TRACE)
        return parse_events(self.netns, bodies, self._current)

    def hush(self) -> None:
        """Get no more events; those waiting can still be read."""
        self._events.hush()

    def fileno(self) -> int:
        """The socket's descriptor, to wait on."""
        return self._events.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._events.close()


_Headers = dict[int, tuple[HeaderKey | None, Flow | None]]
"""By trace id, the headers last seen under it."""
_REMEMBERED = 10_000


def parse_events(
    netns_name: str, bodies: Iterable[bytes], current: _Headers | None = None
) -> list[RuleEvent]:
    """Decode the bodies of trace messages of one namespace, in order.

    `current` goes from call to call where a packet's events may be read in two; it is changed.
    """
    current = {} if current is None else current
    events = []
    for body in bodies:
        found = netlink.attributes(body, 4)
        if _ID not in found or _TYPE not in found or _CHAIN not in found:
            continue
        identity = int.from_bytes(found[_ID], "big")
        if _NETWORK in found:
            headers = found[_NETWORK], found.get(_TRANSPORT, b"")
            current[identity] = (header_of(*headers), flow_of(*headers))
        kind = int.from_bytes(found[_TYPE], "big")
        verdict, target = _verdict(found, kind)
        events.append(
            RuleEvent(
                netns=netns_name,
                family=_FAMILIES.get(body[0], str(body[0])),
                table=netlink.text(found.get(_TABLE, b"")),
                chain=netlink.text(found[_CHAIN]),
                handle=int.from_bytes(found.get(_HANDLE, b""), "big") if kind == _TYPE_RULE else 0,
                verdict=verdict,
                target=target,
                packet=current.get(identity, (None, None))[0],
                flow=current.get(identity, (None, None))[1],
                ct_id=int.from_bytes(found.get(_CT_ID, b""), "big"),
            )
        )
    return [event for event in events if event.table != TABLE]


def _verdict(found: dict[int, bytes], kind: int) -> tuple[str, str]:
    if kind == _TYPE_POLICY:
        return _VERDICTS.get(_signed(found.get(_POLICY, b"")), "unknown"), ""
    nested = netlink.attributes(found.get(_VERDICT, b""))
    return _VERDICTS.get(_signed(nested.get(1, b"")), "unknown"), netlink.text(nested.get(2, b""))


def _signed(value: bytes) -> int:
    return int(struct.unpack("!i", value)[0]) if len(value) == 4 else 99
