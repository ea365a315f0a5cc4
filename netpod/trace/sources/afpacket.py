"""Frames of one network namespace: which interface, which way, when, and the bytes.

One socket sees all interfaces, those that come later too. Taps see a frame before netfilter on the way in and after
it on the way out, so addresses before and after NAT are both on record.

Source: packet(7); Linux net/packet/af_packet.c; socket filters: networking/filter.rst.
"""

import ctypes
import socket
import struct
from collections.abc import Mapping, Sequence

from netpod.linux import netns
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

_LDH_ABS, _LDB_ABS, _LDH_IND, _LDX_MSH = 0x28, 0x30, 0x48, 0xB1
_JEQ, _JGE, _JGT, _JSET, _RET = 0x15, 0x35, 0x25, 0x45, 0x06


def compile_filter(ports: Sequence[int], ranges: Sequence[tuple[int, int]]) -> list[Instruction]:
    """Compile "IPv4 TCP or UDP with a source or destination port in ports or ranges, any ICMP, any ARP" (pure).

    No port and no range at all means every TCP segment and UDP datagram. Later fragments never match: they carry no
    ports. ICMP is always kept, it says why a packet was dropped; so is ARP, that says which neighbour is dead.
    """
    program: list[tuple[int, str | int, str | int, int]] = [
        (_LDH_ABS, 0, 0, 12),
        (_JEQ, "yes", 0, 0x0806),
        (_JEQ, 0, "no", 0x0800),
        (_LDB_ABS, 0, 0, 23),
        (_JEQ, "yes", 0, 1),
        (_JEQ, 1, 0, 6),
        (_JEQ, 0, "no", 17),
        (_LDH_ABS, 0, 0, 20),
        (_JSET, "no", 0, 0x1FFF),
    ]
    if ports or ranges:
        program.append((_LDX_MSH, 0, 0, 14))
        for offset in (14, 16):
            program.append((_LDH_IND, 0, 0, offset))
            program += [(_JEQ, "yes", 0, port) for port in (*ports, *VXLAN_PORTS)]
            for low, high in ranges:
                # Below the range: skip the upper bound's test.
                program += [(_JGE, 0, 1, low), (_JGT, 0, "yes", high)]
        program.append((_RET, 0, 0, 0))
    yes = len(program)
    program += [(_RET, 0, 0, SNAP_LENGTH), (_RET, 0, 0, 0)]
    return assemble(program, {"yes": yes, "no": yes + 1})


def assemble(
    program: Sequence[tuple[int, str | int, str | int, int]], targets: Mapping[str, int]
) -> list[Instruction]:
    """Turn jumps to names into the distances that classic BPF knows (pure)."""

    def jump(at: int, to: str | int) -> int:
        return targets[to] - at - 1 if isinstance(to, str) else to

    compiled = [(c, jump(i, t), jump(i, f), k) for i, (c, t, f, k) in enumerate(program)]
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
            time_ns = 0
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("qq", value[:16])
                    time_ns = seconds * 1_000_000_000 + nanoseconds
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
