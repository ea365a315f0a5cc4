"""Which packets the kernel threw away, and why: its tracepoint skb:kfree_skb, read by a BPF program made here.

The program looks only at packets of the namespaces it was given. It copies reason, place in the kernel and the first
bytes of the packet into a ring buffer; it changes nothing, and is gone with its descriptors, also after kill -9.
A kernel that has no BTF or allows no BPF is no error: `open_drops` says why in words.

Source: Linux include/trace/events/skb.h (kfree_skb), include/net/dropreason-core.h; Documentation/bpf/ringbuf.rst.
"""

import json
import mmap
import os
import platform
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from netpod.errors import KernelError
from netpod.trace import headers
from netpod.trace.clues import Drop
from netpod.trace.packet import flow_of, header_of
from netpod.trace.sources import bpf, btf

RING = 1 << 20
COPIED = 96
"""Bytes of the packet, from its IP header on."""
_EVENT = struct.Struct("<QQQIIQQIIIHH")
_SIZE = _EVENT.size + COPIED
_BASE = -((_SIZE + 7) // 8 * 8)
_TIME, _SKB, _PLACE, _REASON, _DEVICE, _HEAD = (_BASE + n for n in (0, 8, 16, 24, 32, 40))
_LENGTH, _IFINDEX, _NETNS, _NETWORK, _TRANSPORT, _BYTES = (
    _BASE + n for n in (48, 52, 56, 60, 62, 64)
)
_SCRATCH, _KEY = _BASE - 16, _BASE - 24
_FIELDS = {
    "head": ("sk_buff", "head"),
    "network": ("sk_buff", "network_header"),
    "transport": ("sk_buff", "transport_header"),
    "device": ("sk_buff", "dev"),
    "length": ("sk_buff", "len"),
    "socket": ("sk_buff", "sk"),
    "ifindex": ("net_device", "ifindex"),
    "device_net": ("net_device", "nd_net"),
    "inode": ("net", "ns", "inum"),
    "socket_net": ("sock", "__sk_common", "skc_net"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What of a kernel the program must know: offsets by name, and the words for its drop reasons."""

    offsets: Mapping[str, int]
    reasons: Mapping[int, str]


def observe_layout(cache: Path | None) -> Layout:
    """Read the layout from the kernel's BTF, or from the file it was kept in for this very kernel.

    Raises:
        KernelError: this kernel has no BTF, or lacks a field.
    """
    kernel = f"{platform.release()} {platform.version()}"
    if cache is not None and cache.is_file():
        try:
            kept = json.loads(cache.read_text())
            if kept["kernel"] == kernel:
                reasons = {int(k): v for k, v in kept["reasons"].items()}
                return Layout(offsets=kept["offsets"], reasons=reasons)
        except (ValueError, KeyError, OSError):
            pass  # half-written by a crash: made again
    try:
        types = btf.Btf(btf.VMLINUX.read_bytes())
        offsets = {name: types.offset(*where) for name, where in _FIELDS.items()}
    except OSError as error:
        raise KernelError("cannot read the kernel's BTF", errno=error.errno or 0) from error
    except KeyError as error:
        raise KernelError(f"cannot find {error} in the kernel's BTF", errno=0) from error
    words = types.enumeration("skb_drop_reason")
    layout = Layout(
        offsets=offsets,
        reasons={k: v.removeprefix("SKB_").removeprefix("DROP_REASON_") for k, v in words.items()},
    )
    if cache is not None:
        text = json.dumps({"kernel": kernel, "offsets": offsets, "reasons": dict(layout.reasons)})
        partial = cache.with_suffix(".new")
        partial.write_text(text)
        partial.replace(cache)
    return layout


class SkbDrops:
    """Packets freed unsent in some namespaces, from opening to closing.

    Args:
        namespaces: Name of each namespace by its inode.
        layout: Of the running kernel.

    Raises:
        KernelError: BPF is not allowed here.
    """

    def __init__(self, namespaces: Mapping[int, str], layout: Layout) -> None:
        self._namespaces, self._reasons = dict(namespaces), layout.reasons
        self._fds: list[int] = []
        self._maps: list[mmap.mmap] = []
        try:
            ring = self._own(bpf.create_map(bpf.RINGBUF, 0, 0, RING))
            wanted = self._own(bpf.create_map(bpf.HASH, 4, 4, max(1024, len(namespaces))))
            for inode in namespaces:
                bpf.set_flag(wanted, inode)
            page = mmap.PAGESIZE
            self._consumer = mmap.mmap(ring, page, mmap.MAP_SHARED)
            self._maps.append(self._consumer)
            self._producer = mmap.mmap(
                ring, page + 2 * RING, mmap.MAP_SHARED, mmap.PROT_READ, offset=page
            )
            self._maps.append(self._producer)
            program = self._own(bpf.load_tracer(compile_program(layout.offsets, ring, wanted)))
            self._own(bpf.attach("kfree_skb", program))
        except BaseException:
            self.close()
            raise
        # The program's clock is CLOCK_MONOTONIC.
        self._epoch = time.time_ns() - time.monotonic_ns()

    def read(self) -> list[Drop]:
        """Return every drop waiting, in order; functions are not named yet (`name_functions`)."""
        found: list[Drop] = []
        at = struct.unpack_from("<Q", self._consumer, 0)[0]
        end = struct.unpack_from("<Q", self._producer, 0)[0]
        while at < end:
            place = mmap.PAGESIZE + (at & (RING - 1))
            header = struct.unpack_from("<I", self._producer, place)[0]
            if header >> 31:
                break  # being written
            if not header >> 30 & 1:
                found.append(self._parse(self._producer[place + 8 : place + 8 + _SIZE]))
            at += ((header & 0x3FFFFFFF) + 8 + 7) & ~7
        struct.pack_into("<Q", self._consumer, 0, at)
        return found

    def close(self) -> None:
        """Take the program out of the kernel."""
        for item in self._maps:
            item.close()
        for fd in reversed(self._fds):
            os.close(fd)
        self._fds, self._maps = [], []

    def _own(self, fd: int) -> int:
        self._fds.append(fd)
        return fd

    def _parse(self, event: bytes) -> Drop:
        fields = _EVENT.unpack_from(event)
        time_ns, _, location, reason = fields[:4]
        data = event[_EVENT.size :]
        parts = headers.split(data)
        return Drop(
            netns=self._namespaces.get(fields[9], ""),
            time_ns=time_ns + self._epoch,
            reason=self._reasons.get(reason, str(reason)),
            function="",
            location=location,
            packet=header_of(*parts),
            flow=flow_of(*parts),
        )


def compile_program(offsets: Mapping[str, int], ring: int, wanted: int) -> bytes:
    """Compile the program: is the packet in a wanted namespace? then copy what is known of it (pure)."""

    def read(to: int, size: int, base: int, offset: int) -> bytes:
        """Copy kernel memory at base + offset to the stack."""
        code = bpf.move(bpf.R1, bpf.FRAME) + bpf.add(bpf.R1, to) + bpf.put(bpf.R2, size)
        return code + bpf.move(bpf.R3, base) + bpf.add(bpf.R3, offset) + bpf.call(bpf.PROBE_READ)

    leave = bpf.put(bpf.R0, 0) + bpf.EXIT
    code = bpf.move(bpf.R6, bpf.R1) + bpf.load(bpf.R7, bpf.R6, 0)
    for offset in (*range(_BASE, 0, 8), _SCRATCH, _KEY):
        code += bpf.clear(bpf.FRAME, offset)
    code += bpf.store(bpf.FRAME, _SKB, bpf.R7)
    code += bpf.load(bpf.R1, bpf.R6, 8) + bpf.store(bpf.FRAME, _PLACE, bpf.R1)
    code += bpf.load(bpf.R1, bpf.R6, 16) + bpf.store(bpf.FRAME, _REASON, bpf.R1, 4)
    code += read(_DEVICE, 8, bpf.R7, offsets["device"]) + bpf.load(bpf.R8, bpf.FRAME, _DEVICE)
    # A packet that is on no device yet belongs to its socket's namespace.
    of_socket = read(_SCRATCH, 8, bpf.R7, offsets["socket"])
    of_socket += bpf.load(bpf.R8, bpf.FRAME, _SCRATCH) + bpf.jump_unless_zero(bpf.R8, 2) + leave
    of_socket += read(_SCRATCH, 8, bpf.R8, offsets["socket_net"])
    of_device = read(_IFINDEX, 4, bpf.R8, offsets["ifindex"])
    of_device += read(_SCRATCH, 8, bpf.R8, offsets["device_net"])
    of_device += bpf.jump(len(of_socket) // 8)
    code += bpf.jump_if_zero(bpf.R8, len(of_device) // 8) + of_device + of_socket
    code += bpf.load(bpf.R8, bpf.FRAME, _SCRATCH) + read(_NETNS, 4, bpf.R8, offsets["inode"])
    code += bpf.load(bpf.R1, bpf.FRAME, _NETNS, 4) + bpf.store(bpf.FRAME, _KEY, bpf.R1, 4)
    code += bpf.load_map(bpf.R1, wanted) + bpf.move(bpf.R2, bpf.FRAME) + bpf.add(bpf.R2, _KEY)
    code += bpf.call(bpf.LOOKUP) + bpf.jump_unless_zero(bpf.R0, 2) + leave
    code += bpf.call(bpf.KTIME) + bpf.store(bpf.FRAME, _TIME, bpf.R0)
    code += read(_HEAD, 8, bpf.R7, offsets["head"]) + read(_LENGTH, 4, bpf.R7, offsets["length"])
    code += read(_NETWORK, 2, bpf.R7, offsets["network"])
    code += read(_TRANSPORT, 2, bpf.R7, offsets["transport"])
    code += bpf.load(bpf.R8, bpf.FRAME, _HEAD) + bpf.load(bpf.R1, bpf.FRAME, _NETWORK, 2)
    code += bpf.add_register(bpf.R8, bpf.R1) + read(_BYTES, COPIED, bpf.R8, 0)
    code += bpf.load_map(bpf.R1, ring) + bpf.move(bpf.R2, bpf.FRAME) + bpf.add(bpf.R2, _BASE)
    code += bpf.put(bpf.R3, _SIZE) + bpf.put(bpf.R4, 0) + bpf.call(bpf.RINGBUF_OUTPUT)
    return code + leave


@lru_cache(maxsize=64)
def name_function(location: int) -> str:
    """Return the kernel function that an address is in, e.g. "ip_error", or "" when it is not told.

    Reads all of the kernel's symbols (some 0.2 s): for the one drop that matters.
    """
    best, name = 0, ""
    try:
        with open("/proc/kallsyms", "rb") as symbols:
            for line in symbols:
                address = int(line[:16], 16)
                if best < address <= location and line[17:18] in b"tT":
                    best, name = address, line[19:].split()[0].decode()
    except (OSError, ValueError):
        return ""
    return name
