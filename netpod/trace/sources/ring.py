"""Frames of one network namespace at a high rate: the kernel writes them into memory shared with us, block by block.

One system call per wait, none per frame. A block is ours from when the kernel marks it until we give it back; a frame
that finds no free block is lost, and counted.

Source: packet(7) PACKET_RX_RING, TPACKET_V3; Linux include/uapi/linux/if_packet.h (tpacket_block_desc, tpacket3_hdr).
"""

import fcntl
import mmap
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

from netpod.linux import netns
from netpod.trace.sources import afpacket

BLOCK = 1 << 20
"""Bytes; some 5,000 small frames."""
RETIRE_MS = 20
"""A block that is not full is ours after so long."""
_VERSION, _RX_RING, _V3, _STATISTICS = 10, 5, 2, 6
_SIOCGIFNAME = 0x8910
_BLOCK_HEAD = struct.Struct("III")
_FRAME = struct.Struct("IIIIIIHH")
_LINK = struct.Struct("iHB")
_LINK_AT = 48 + 4
"""The frame's sockaddr_ll, behind its header of 48 bytes; the link's index is its third field."""


class RawFrame(NamedTuple):
    """One frame: `kind` is its packet type (4 is outgoing), `length` its bytes on the wire."""

    time_ns: int
    ifindex: int
    kind: int
    data: bytes
    length: int


class Ring:
    """The packet ring of one network namespace.

    Args:
        netns_name: The namespace.
        program: Which frames.
        blocks: How much memory, in blocks of BLOCK bytes.
    """

    def __init__(
        self, netns_name: str, program: Sequence[afpacket.Instruction], blocks: int = 32
    ) -> None:
        self.netns = netns_name
        self._blocks, self._at, self._lost = blocks, 0, 0
        self._names: dict[int, str] = {}
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self.socket = netns.socket_in(netns_name, socket.AF_PACKET, kind, 0)
        try:
            self.socket.setsockopt(afpacket.SOL_PACKET, _VERSION, _V3)
            afpacket.attach(self.socket, program)
            request = struct.pack(
                "7I", BLOCK, blocks, afpacket.SNAP_LENGTH, BLOCK * blocks // afpacket.SNAP_LENGTH,
                RETIRE_MS, 0, 0,
            )  # fmt: skip
            self.socket.setsockopt(afpacket.SOL_PACKET, _RX_RING, request)
            access = mmap.PROT_READ | mmap.PROT_WRITE
            self._memory = mmap.mmap(self.socket.fileno(), BLOCK * blocks, mmap.MAP_SHARED, access)
            afpacket.bind_every_interface(self.socket)
        except BaseException:
            self.socket.close()
            raise

    def read(self, most: int = 1 << 16) -> list[RawFrame]:
        """Return frames waiting, block by block, until there are none or `most`; never blocks."""
        memory, found = self._memory, list[RawFrame]()
        head, frame, link = _BLOCK_HEAD.unpack_from, _FRAME.unpack_from, _LINK.unpack_from
        while len(found) < most:
            block = self._at * BLOCK
            status, count, first = head(memory, block + 8)
            if not status & 1:
                break
            at = block + first
            for _ in range(count):
                step, seconds, nanoseconds, snapped, length, _, mac, _ = frame(memory, at)
                ifindex, _, kind = link(memory, at + _LINK_AT)
                data = memory[at + mac : at + mac + snapped]
                found.append(
                    RawFrame(seconds * 1_000_000_000 + nanoseconds, ifindex, kind, data, length)
                )
                at += step
            struct.pack_into("I", memory, block + 8, 0)
            self._at = (self._at + 1) % self._blocks
        return found

    def name(self, ifindex: int) -> str:
        """Return the name of a link of the ring's namespace."""
        if ifindex not in self._names:
            try:
                answer = fcntl.ioctl(
                    self.socket, _SIOCGIFNAME, struct.pack("16si20x", b"", ifindex)
                )
                self._names[ifindex] = answer[:16].split(b"\0")[0].decode()
            except OSError:
                return f"if{ifindex}"  # gone meanwhile
        return self._names[ifindex]

    def lost(self) -> int:
        """Return how many frames found no free block since the last call."""
        answer = self.socket.getsockopt(afpacket.SOL_PACKET, _STATISTICS, 12)
        return int(struct.unpack("III", answer)[1])

    def fileno(self) -> int:
        """The socket's descriptor, to wait on."""
        return self.socket.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._memory.close()
        self.socket.close()
