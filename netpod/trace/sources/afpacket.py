"""Frames of one network namespace: which interface, which way, when, and the bytes.

One socket sees all interfaces, those that come later too. Taps see a frame before netfilter on the way in and after
it on the way out, so addresses before and after NAT are both on record.

Source: packet(7); Linux net/packet/af_packet.c; socket filters: networking/filter.rst.
"""

import ctypes
import socket
import struct
import sys
from collections.abc import Mapping, Sequence

from netpod.linux import netns
from netpod.trace.headers import ETH_P_ARP, ETH_P_IP, ETH_P_IPV6
from netpod.trace.packet import VXLAN_PORTS
from netpod.trace.sources.frames import Frame

SNAP_LENGTH = 2048
BUFFER = 32 << 20
SO_TIMESTAMPNS = 35
SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE = 33
SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_AUXDATA = 8
PACKET_OTHERHOST = 3
PACKET_OUTGOING = 4
ETH_P_ALL = 3

Instruction = tuple[int, int, int, int]
"""Classic BPF: code, jump if true, jump if false, operand."""
NOTHING: tuple[Instruction, ...] = ((0x06, 0, 0, 0),)

_LDH_ABS, _LDB_ABS, _LDH_IND, _LDX_MSH, _LDX_IMM = 0x28, 0x30, 0x48, 0xB1, 0x01
_JEQ, _JGE, _JGT, _JSET, _JA, _RET = 0x15, 0x35, 0x25, 0x45, 0x05, 0x06


_EXTENSIONS = (0, 43, 44, 51, 60)
"""IPv6 extension headers. Source: RFC 8200 section 4."""
_Line = tuple[int, str | int, str | int, str | int]
"""An instruction whose jumps may go to a name."""


def compile_filter(ports: Sequence[int], ranges: Sequence[tuple[int, int]]) -> list[Instruction]:
    """Compile "TCP or UDP with a source or destination port in ports or ranges, any ICMP, any ARP" (pure).

    No port and no range at all means every TCP segment and UDP datagram. Later fragments, which have no ports, are all
    kept: they are rare. ICMP is always kept, it says why a packet was dropped; so are ARP and neighbour discovery, that
    say which neighbour is dead. Of IPv6 all packets with extension headers are kept, rare too: this language has no
    loop to look behind them.
    """
    four: list[_Line] = [
        (_LDH_ABS, 0, 0, 12),
        (_JEQ, "yes", 0, ETH_P_ARP),
        (_JEQ, "six", 0, ETH_P_IPV6),
        (_JEQ, 0, "no", ETH_P_IP),
        (_LDB_ABS, 0, 0, 23),
        (_JEQ, "yes", 0, 1),
        (_JEQ, 1, 0, 6),
        (_JEQ, 0, "no", 17),
        (_LDH_ABS, 0, 0, 20),
        (_JSET, "yes", 0, 0x1FFF),
        (_LDX_MSH, 0, 0, 14),
        (_JA, 0, 0, "ports"),
    ]
    six: list[_Line] = [
        (_LDB_ABS, 0, 0, 20),
        *((_JEQ, "yes", 0, kind) for kind in (58, *_EXTENSIONS)),
        (_JEQ, 1, 0, 6),
        (_JEQ, 0, "no", 17),
        (_LDX_IMM, 0, 0, 40),
    ]
    compared: list[_Line] = []
    # X is where the transport header begins behind Ethernet's.
    for offset in (14, 16) if ports or ranges else ():
        compared.append((_LDH_IND, 0, 0, offset))
        compared += [(_JEQ, "yes", 0, port) for port in (*ports, *VXLAN_PORTS)]
        for low, high in ranges:
            # Below the range: skip the upper bound's test.
            compared += [(_JGE, 0, 1, low), (_JGT, 0, "yes", high)]
    ends: list[_Line] = [(_RET, 0, 0, SNAP_LENGTH), (_RET, 0, 0, 0)]
    program = [*four, *six, *compared]
    last: list[_Line] = [(_RET, 0, 0, 0)] if compared else []
    yes = len(program) + len(last)
    targets = {"six": len(four), "ports": len(four) + len(six), "yes": yes, "no": yes + 1}
    return assemble([*program, *last, *ends], targets)


def assemble(program: Sequence[_Line], targets: Mapping[str, int]) -> list[Instruction]:
    """Turn jumps to names into the distances that classic BPF knows (pure)."""

    def jump(at: int, to: str | int) -> int:
        return targets[to] - at - 1 if isinstance(to, str) else to

    compiled = [(c, jump(i, t), jump(i, f), jump(i, k)) for i, (c, t, f, k) in enumerate(program)]
    assert all(t < 256 and f < 256 for _, t, f, _ in compiled), (
        "a BPF jump reaches 255 instructions"
    )
    return compiled


class Capture:
    """The packet socket of one network namespace; open it before the request, read it after."""

    def __init__(self, netns_name: str, program: Sequence[Instruction]) -> None:
        self.netns = netns_name
        # Protocol 0: nothing is received before the filter is on and bind() names a protocol.
        self.socket = netns.socket_in(
            netns_name, socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0
        )
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
            self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            attach(self.socket, program)
            bind_every_interface(self.socket)
            self.socket.setblocking(False)
        except BaseException:
            self.socket.close()
            raise
        self._read = 0

    def read(self) -> list[Frame]:
        """Return every frame waiting; never blocks."""
        frames: list[Frame] = []
        while True:
            try:
                data, ancillary, _, address = self.socket.recvmsg(SNAP_LENGTH, 128)
            except BlockingIOError:
                return frames
            time_ns = length = 0
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("qq", value[:16])
                    time_ns = seconds * 1_000_000_000 + nanoseconds
                elif kind == PACKET_AUXDATA and level == SOL_PACKET:
                    length = int.from_bytes(value[4:8], sys.byteorder)
            self._read += 1
            # Python names the interface by asking this very socket, hence in the right namespace.
            interface, _, packet_type = address[:3]
            frames.append(
                Frame(
                    netns=self.netns,
                    interface=interface,
                    outgoing=packet_type == PACKET_OUTGOING,
                    for_us=packet_type != PACKET_OTHERHOST,
                    time_ns=time_ns,
                    sequence=self._read,
                    data=data,
                    length=length,
                )
            )

    def hush(self) -> None:
        """Receive no more frames; those waiting can still be read."""
        attach(self.socket, NOTHING)

    def lost(self) -> int:
        """Return how many frames the kernel dropped here since the last call because the buffer was full."""
        _, dropped = struct.unpack("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        return int(dropped)

    def fileno(self) -> int:
        """The socket's descriptor, to wait on."""
        return self.socket.fileno()

    def close(self) -> None:
        """Stop listening. Takes the kernel some 13 ms: it waits until no CPU uses the tap any more."""
        self.socket.close()


def attach(sock: socket.socket, program: Sequence[Instruction]) -> None:
    """Let a socket receive only what a program accepts."""
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    pointer = struct.pack("HL", len(program), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointer)


def bind_every_interface(sock: socket.socket) -> None:
    """Begin to receive, from all links of the socket's namespace."""
    # socket.bind() wants an interface name; index 0, which means all, has none.
    address = struct.pack("=HHiHBB8s", socket.AF_PACKET, socket.htons(ETH_P_ALL), 0, 0, 0, 0, b"")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.bind(sock.fileno(), address, len(address)) != 0:
        raise OSError(ctypes.get_errno(), "cannot bind packet socket")
