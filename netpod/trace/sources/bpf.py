"""The bpf(2) system call and the few instructions a small program needs: no compiler, no library.

Source: bpf(2); Linux Documentation/bpf/standardization/instruction-set.rst; include/uapi/linux/bpf.h.
"""

import ctypes
import os
import platform
import struct

from netpod.errors import KernelError

_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _RAW_TRACEPOINT_OPEN = 0, 2, 5, 17
HASH, RINGBUF = 1, 27
_RAW_TRACEPOINT = 17
LOOKUP, KTIME, PROBE_READ, RINGBUF_OUTPUT = 1, 5, 113, 130
"""Numbers of helper functions."""
_LICENSE = b"Dual MIT/GPL\0"
"""The kernel lends tracing helpers only to programs that say they are compatible with its own licence."""

R0, R1, R2, R3, R4, R6, R7, R8, FRAME = 0, 1, 2, 3, 4, 6, 7, 8, 10


def instruction(code: int, to: int = 0, by: int = 0, offset: int = 0, value: int = 0) -> bytes:
    """Return one instruction of 8 bytes."""
    return struct.pack("<BBhi", code, to | by << 4, offset, value)


def move(to: int, by: int) -> bytes:
    """Register to register."""
    return instruction(0xBF, to, by)


def put(to: int, value: int) -> bytes:
    """Number into a register."""
    return instruction(0xB7, to, value=value)


def add(to: int, value: int) -> bytes:
    """Add a number to a register."""
    return instruction(0x07, to, value=value)


def add_register(to: int, by: int) -> bytes:
    """Add one register to another."""
    return instruction(0x0F, to, by)


def load(to: int, base: int, offset: int, size: int = 8) -> bytes:
    """Read 2, 4 or 8 bytes of memory into a register."""
    return instruction({8: 0x79, 4: 0x61, 2: 0x69}[size], to, base, offset)


def store(base: int, offset: int, by: int, size: int = 8) -> bytes:
    """Write 4 or 8 bytes of a register into memory."""
    return instruction({8: 0x7B, 4: 0x63}[size], base, by, offset)


def clear(base: int, offset: int) -> bytes:
    """Write eight zero bytes into memory."""
    return instruction(0x7A, base, 0, offset)


def load_map(to: int, fd: int) -> bytes:
    """Address of a map into a register; two instructions long."""
    return instruction(0x18, to, 1, value=fd) + instruction(0)


def call(helper: int) -> bytes:
    """Call a helper function."""
    return instruction(0x85, value=helper)


def jump(count: int) -> bytes:
    """Skip instructions."""
    return instruction(0x05, offset=count)


def jump_if_zero(register: int, count: int) -> bytes:
    """Skip instructions when a register is zero."""
    return instruction(0x15, register, offset=count)


def jump_unless_zero(register: int, count: int) -> bytes:
    """Skip instructions when a register is not zero."""
    return instruction(0x55, register, offset=count)


EXIT = instruction(0x95)


def create_map(kind: int, key: int, value: int, entries: int) -> int:
    """Make a map; the caller closes the descriptor."""
    return _bpf(_MAP_CREATE, struct.pack("<IIII", kind, key, value, entries))


def set_flag(fd: int, key: int) -> None:
    """Store 1 under a 4 byte key of a hash map."""
    name = ctypes.create_string_buffer(struct.pack("<I", key), 4)
    value = ctypes.create_string_buffer(struct.pack("<I", 1), 4)
    places = (ctypes.addressof(name), ctypes.addressof(value), 0)
    _bpf(_MAP_UPDATE, struct.pack("<IIQQQ", fd, 0, *places))


def load_tracer(code: bytes) -> int:
    """Load a program for a raw tracepoint; the caller closes the descriptor.

    Raises:
        KernelError: not allowed, or the verifier refused it.
    """
    text = ctypes.create_string_buffer(code, len(code))
    license_ = ctypes.create_string_buffer(_LICENSE)
    log = ctypes.create_string_buffer(1 << 16)
    attributes = struct.pack(
        "<IIQQIIQ",
        _RAW_TRACEPOINT,
        len(code) // 8,
        ctypes.addressof(text),
        ctypes.addressof(license_),
        1,
        len(log),
        ctypes.addressof(log),
    )
    try:
        return _bpf(_PROG_LOAD, attributes)
    except KernelError as error:
        said = log.value.decode(errors="replace").strip().splitlines()[-1:] or [str(error)]
        raise KernelError(f"cannot load BPF program: {said[0]}", errno=error.errno) from error


def attach(point: str, program: int) -> int:
    """Run a program whenever the kernel passes a tracepoint, until the descriptor is closed."""
    name = ctypes.create_string_buffer(point.encode())
    return _bpf(_RAW_TRACEPOINT_OPEN, struct.pack("<QIxxxx", ctypes.addressof(name), program))


def _bpf(command: int, attributes: bytes) -> int:
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise KernelError(f"cannot call bpf on {platform.machine()}", errno=0)
    attributes = attributes.ljust(144, b"\0")
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(number, command, buffer, len(attributes)))
    if result < 0:
        code = ctypes.get_errno()
        raise KernelError(f"cannot call bpf: {os.strerror(code)}", errno=code)
    return result
