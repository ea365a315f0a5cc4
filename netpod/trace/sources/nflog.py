"""Which rules of iptables-legacy a packet met: its TRACE messages, over nfnetlink_log.

The same mark that nf_tables' trace events need makes iptables-legacy write one log message per rule; the namespace's
logger for each family that has tables is nfnetlink_log while we listen, and what it was before afterwards. A message
names table, chain and the rule's number, but no verdict: that is read from the rule.

Source: Linux net/ipv4/netfilter/ip_tables.c trace_packet, net/ipv6/netfilter/ip6_tables.c;
net/netfilter/nfnetlink_log.c; nfnetlink_log.h (NFULA_*).
"""

import re
import struct
from collections.abc import Iterable, Mapping

from netpod.errors import KernelError
from netpod.ip import Family
from netpod.linux import netns, sysctl
from netpod.trace import headers
from netpod.trace.packet import flow_of, header_of
from netpod.trace.sources import netlink
from netpod.trace.sources.nftrace import RuleEvent

FAMILIES = {Family.IPV4: "ip-legacy", Family.IPV6: "ip6-legacy"}
"""What a rule event's family is called."""
LOGGERS = {family: f"net.netfilter.nf_log.{family.af}" for family in Family}
"""Sysctl that says who logs a namespace's packets of a family."""
OURS = "nfnetlink_log"
_TABLES = {Family.IPV4: "ip_tables_names", Family.IPV6: "ip6_tables_names"}
_DEFAULTS = {Family.IPV4: "nf_log_ipv4", Family.IPV6: "nf_log_ipv6"}
_ULOG = 4 << 8
_PACKET, _CONFIG = _ULOG, _ULOG | 1
_PF_BIND, _BIND = 3, 1
_CMD, _MODE, _QTHRESH, _FLAGS = 1, 2, 5, 6
_PAYLOAD, _PREFIX = 9, 10
_COPY_PACKET, _FLAG_SEQ = 2, 1
_COPIED = 128
_TRACE = re.compile(r"^TRACE: (\w+):([^:]+):(rule|policy|return):(\d+)")


def in_use(netns_name: str) -> tuple[Family, ...]:
    """Return the families in which iptables-legacy has tables in a namespace."""

    def read() -> tuple[Family, ...]:
        return tuple(family for family in Family if _listed(_TABLES[family]))

    return netns.call_in(netns_name, read)


def _listed(name: str) -> bool:
    try:
        with open(f"/proc/thread-self/net/{name}") as file:
            return bool(file.read().strip())
    except OSError:
        return False


class LegacyTrace:
    """TRACE messages of one network namespace; closing gives the loggers back.

    Raises:
        KernelError: another program has the namespace's log group.
    """

    def __init__(self, netns_name: str) -> None:
        self.netns = netns_name
        families = in_use(netns_name)
        self._before = observe(netns_name, families)
        self._events = netlink.EventSocket(netns_name, ())
        try:
            for family in families:
                self._configure(family.af, _CMD, struct.pack("B", _PF_BIND))
            self._configure(0, _CMD, struct.pack("B", _BIND))
            self._configure(0, _MODE, struct.pack("!IBB", _COPIED, _COPY_PACKET, 0))
            # One message, one delivery: else they wait for company.
            self._configure(0, _QTHRESH, struct.pack("!I", 1))
            self._configure(0, _FLAGS, struct.pack("!H", _FLAG_SEQ))
        except BaseException:
            self.close()
            raise

    @property
    def lost(self) -> int:
        """How often the kernel dropped messages because the buffer was full."""
        return self._events.lost

    def read(self) -> list[RuleEvent]:
        """Return every event waiting; the verdict is left "" for whoever knows the rules. Never blocks."""
        events = (parse(self.netns, b) for k, _, b in self._events.read() if k == _PACKET)
        return [event for event in events if event is not None]

    def hush(self) -> None:
        """Get no more events; those waiting can still be read."""
        self._events.hush()

    def fileno(self) -> int:
        """The socket's descriptor, to wait on."""
        return self._events.fileno()

    def close(self) -> None:
        """Stop listening and give the loggers back."""
        self._events.close()
        restore(self.netns, self._before)

    def _configure(self, family: int, kind: int, value: bytes) -> None:
        body = struct.pack("!BBH", family, 0, 0)
        body += struct.pack("HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)
        sock = self._events.socket
        sock.settimeout(1)
        sock.send(struct.pack("IHHII", 16 + len(body), _CONFIG, 5, 1, 0) + body)
        answer = sock.recv(4096)
        sock.setblocking(False)
        code = struct.unpack_from("i", answer, 16)[0]
        if code:
            raise KernelError("cannot listen to iptables-legacy", errno=-code, netns=self.netns)


def observe(netns_name: str, families: Iterable[Family]) -> dict[str, str]:
    """Return who logs a namespace's packets of some families, by sysctl."""
    return {LOGGERS[it]: sysctl.read(netns_name, LOGGERS[it]) for it in families}


def restore(netns_name: str, before: Mapping[str, str] | None = None) -> None:
    """Give a namespace its loggers back; without knowing which they were, the kernel's default. Not ours: left alone.

    Args:
        netns_name: The namespace.
        before: As of `observe`.
    """
    for family, logger in LOGGERS.items():
        try:
            if sysctl.read(netns_name, logger) != OURS:
                continue
        except KernelError:
            continue  # the namespace is gone, or the kernel has no such family
        for value in ((before or {}).get(logger, ""), _DEFAULTS[family], "NONE"):
            if value and value != OURS:
                try:
                    sysctl.write(netns_name, logger, value)
                    break
                except KernelError:
                    continue


def parse(netns_name: str, body: bytes) -> RuleEvent | None:
    """Decode one log message, or return None when it is not of TRACE (pure)."""
    found = netlink.attributes(body, 4)
    match = _TRACE.match(netlink.text(found.get(_PREFIX, b"")))
    data = found.get(_PAYLOAD, b"")
    parts = headers.split(data)
    if match is None or not parts[0] or match[3] == "return":
        return None
    return RuleEvent(
        netns=netns_name,
        family=FAMILIES[Family.IPV6 if data[0] >> 4 == 6 else Family.IPV4],
        table=match[1],
        chain=match[2],
        handle=int(match[4]) if match[3] == "rule" else 0,
        verdict="",
        target="",
        packet=header_of(*parts),
        flow=flow_of(*parts),
    )
