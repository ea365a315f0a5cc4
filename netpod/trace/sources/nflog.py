"""Which rules of iptables-legacy a packet met: its TRACE messages, over nfnetlink_log.

The same mark that nf_tables' trace events need makes iptables-legacy write one log message per rule; the namespace's
logger for IPv4 is nfnetlink_log while we listen, and what it was before afterwards. A message names table, chain and
the rule's number, but no verdict: that is read from the rule.

Source: Linux net/ipv4/netfilter/ip_tables.c trace_packet; net/netfilter/nfnetlink_log.c; nfnetlink_log.h (NFULA_*).
"""

import re
import struct

from netpod.errors import KernelError
from netpod.linux import netns, sysctl
from netpod.trace.packet import flow_of, header_of
from netpod.trace.sources import netlink
from netpod.trace.sources.nftrace import RuleEvent

FAMILY = "ip-legacy"
LOGGER = "net.netfilter.nf_log.2"
OURS = "nfnetlink_log"
_ULOG = 4 << 8
_PACKET, _CONFIG = _ULOG, _ULOG | 1
_PF_BIND, _BIND = 3, 1
_CMD, _MODE, _QTHRESH, _FLAGS = 1, 2, 5, 6
_PAYLOAD, _PREFIX = 9, 10
_COPY_PACKET, _FLAG_SEQ = 2, 1
_COPIED = 128
_TRACE = re.compile(r"^TRACE: (\w+):([^:]+):(rule|policy|return):(\d+)")


def in_use(netns_name: str) -> bool:
    """Return whether iptables-legacy has tables in a namespace."""

    def read() -> str:
        with open("/proc/thread-self/net/ip_tables_names") as file:
            return file.read()

    try:
        return bool(netns.call_in(netns_name, read).strip())
    except OSError:
        return False


class LegacyTrace:
    """TRACE messages of one network namespace; closing gives the logger back.

    Raises:
        KernelError: another program has the namespace's log group.
    """

    def __init__(self, netns_name: str) -> None:
        self.netns = netns_name
        self._before = sysctl.read(netns_name, LOGGER)
        self._events = netlink.EventSocket(netns_name, ())
        try:
            self._configure(2, _CMD, struct.pack("B", _PF_BIND))
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
        """Stop listening and give the logger back."""
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


def restore(netns_name: str, before: str = "") -> None:
    """Give a namespace its logger back; without knowing which it was, the kernel's default. Not ours: left alone."""
    try:
        if sysctl.read(netns_name, LOGGER) != OURS:
            return
        for value in (before, "nf_log_ipv4", "NONE"):
            if value and value != OURS:
                try:
                    sysctl.write(netns_name, LOGGER, value)
                    return
                except KernelError:
                    continue
    except KernelError:
        return  # the namespace is gone


def parse(netns_name: str, body: bytes) -> RuleEvent | None:
    """Decode one log message, or return None when it is not of TRACE (pure)."""
    found = netlink.attributes(body, 4)
    match = _TRACE.match(netlink.text(found.get(_PREFIX, b"")))
    data = found.get(_PAYLOAD, b"")
    if match is None or len(data) < 20 or match[3] == "return":
        return None
    size = (data[0] & 15) * 4
    return RuleEvent(
        netns=netns_name,
        family=FAMILY,
        table=match[1],
        chain=match[2],
        handle=int(match[4]) if match[3] == "rule" else 0,
        verdict="",
        target="",
        packet=header_of(data[:size], data[size:]),
        flow=flow_of(data[:size], data[size:]),
    )
