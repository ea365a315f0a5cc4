"""pcapng files: nanoseconds, an interface per tap, comments, packet ids, names of addresses.

Source: IETF draft-ietf-opsawg-pcapng (Section Header, Interface Description, Enhanced Packet, Name Resolution blocks).
"""

import struct
from collections.abc import Iterable, Mapping
from typing import BinaryIO

from netpod.ip import Address as IPAddress

LINKTYPE_ETHERNET = 1
_SECTION, _INTERFACE, _NAMES, _PACKET = 0x0A0D0D0A, 1, 4, 6
_COMMENT, _IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL, _USERAPPL = 1, 2, 3, 9, 4
_EPB_FLAGS, _EPB_PACKETID = 2, 5
INBOUND, OUTBOUND = 1, 2


class Writer:
    """Writes one section. Interfaces are described when their first packet comes.

    Args:
        file: Where to; written block by block, so a pipe shows packets as they come.
        comment: Of the whole file.
    """

    def __init__(self, file: BinaryIO, *, comment: str = "") -> None:
        self._file = file
        self._interfaces: dict[tuple[str, str], int] = {}
        options = _option(_COMMENT, comment.encode()) if comment else b""
        options += _option(_USERAPPL, b"netpod trace")
        self._block(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + options + _END)

    def names(self, names: Mapping[IPAddress, str]) -> None:
        """Say what addresses are called; write it before the packets that need it."""
        records = b""
        for ip, name in sorted(names.items(), key=lambda it: (it[0].version, it[0].packed)):
            value = ip.packed + name.encode() + b"\0"
            records += struct.pack("<HH", 1 if ip.version == 4 else 2, len(value)) + _pad(value)
        self._block(_NAMES, records + struct.pack("<HH", 0, 0))

    def packet(
        self,
        interface: tuple[str, str],
        time_ns: int,
        data: bytes,
        *,
        description: str = "",
        direction: int = 0,
        packet_id: int | None = None,
        comments: Iterable[str] = (),
        length: int = 0,
    ) -> None:
        """Write one frame.

        Args:
            interface: Namespace and link it was seen at.
            time_ns: Since the Unix epoch.
            data: The frame from its Ethernet header on, as far as captured.
            description: Of the interface; read only with its first packet.
            direction: INBOUND, OUTBOUND or 0.
            packet_id: Equal for all sightings of one packet.
            comments: One line each.
            length: Bytes on the wire, when more than captured.
        """
        number = self.interface(interface, description)
        options = b"".join(_option(_COMMENT, text.encode()) for text in comments)
        if direction:
            options += _option(_EPB_FLAGS, struct.pack("<I", direction))
        if packet_id is not None:
            options += _option(_EPB_PACKETID, struct.pack("<Q", packet_id))
        head = struct.pack(
            "<IIIII",
            number,
            time_ns >> 32,
            time_ns & 0xFFFFFFFF,
            len(data),
            max(length, len(data)),
        )
        self._block(_PACKET, head + _pad(data) + (options + _END if options else b""))

    def interface(self, interface: tuple[str, str], description: str = "") -> int:
        """Return the number of an interface, which is described when it is new."""
        if interface not in self._interfaces:
            self._interface(interface, description)
        return self._interfaces[interface]

    def bare(self, frames: Iterable[tuple[int, int, int, bytes, int]]) -> None:
        """Write many frames at once, without comments: a microsecond each.

        Args:
            frames: Interface number, nanoseconds since the Unix epoch, INBOUND or OUTBOUND, bytes, length on the wire.
        """
        pack, parts = _EPB.pack, list[bytes]()
        for interface, time_ns, direction, data, length in frames:
            captured = len(data)
            padding = -captured % 4
            size = 44 + captured + padding
            parts += (
                pack(
                    _PACKET, size, interface, time_ns >> 32, time_ns & 0xFFFFFFFF, captured, length
                ),
                data,
                _TAIL[direction, padding],
                size.to_bytes(4, "little"),
            )
        self._file.write(b"".join(parts))

    def _interface(self, interface: tuple[str, str], description: str) -> None:
        self._interfaces[interface] = len(self._interfaces)
        options = _option(_IF_NAME, "/".join(interface).encode())
        if description:
            options += _option(_IF_DESCRIPTION, description.encode())
        options += _option(_IF_TSRESOL, b"\x09") + _END
        self._block(_INTERFACE, struct.pack("<HHI", LINKTYPE_ETHERNET, 0, 0) + options)

    def _block(self, kind: int, body: bytes) -> None:
        size = 12 + len(body)
        self._file.write(struct.pack("<II", kind, size) + body + struct.pack("<I", size))


_END = struct.pack("<HH", 0, 0)
_EPB = struct.Struct("<IIIIIII")
_TAIL = {
    (direction, padding): b"\0" * padding + struct.pack("<HHI", _EPB_FLAGS, 4, direction) + _END
    for direction in (INBOUND, OUTBOUND)
    for padding in range(4)
}
"""What stands behind a bare frame's bytes: padding, and which way it went."""


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _pad(value)


def _pad(value: bytes) -> bytes:
    return value + b"\0" * (-len(value) % 4)
