"""Addresses of one node's pod CIDR, reserved on disk: host-local.

A reservation is a symbolic link named for the address and pointing at its owner, so `ls -l` shows who has what. Making
one is a single step that fails when the address is taken: a crash leaves a reservation whole or not at all.

Source: CNI host-local, plugins/ipam/host-local/backend/allocator/allocator.go and backend/disk.
"""

import contextlib
import fcntl
import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netpod.errors import Exhausted

LAST = "last_reserved_ip.0"
LOCK = "lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """An address somebody has.

    Attributes:
        pod_ip: With the CIDR's prefix length, e.g. 10.244.1.7/24.
        fresh: Whether this very call reserved it.
    """

    pod_ip: ipaddress.IPv4Interface
    fresh: bool


def allocate(directory: Path, pod_cidr: ipaddress.IPv4Network, owner: str) -> Reservation:
    """Reserve the next free address of the pod CIDR.

    The search goes round from the address reserved last, so that a freed one is used again as late as possible.

    Args:
        directory: Where the reservations are; made when absent.
        pod_cidr: The node's; at most /30.
        owner: Who it is for; a second call for the same owner returns the same address.

    Returns:
        An address that is never .0, .1 (the bridge) or broadcast.

    Raises:
        Exhausted: every address is reserved.
    """
    assert pod_cidr.prefixlen <= 30, "a pod CIDR needs room for bridge, pod and broadcast"
    with _locked(directory):
        taken = _names(directory)
        held = _held(directory, taken, owner)
        for name in held:
            if (address := ipaddress.IPv4Address(name)) in pod_cidr:
                return _reservation(address, pod_cidr, fresh=False)
        for address in _candidates(pod_cidr, _last(directory)):
            if (name := str(address)) in taken:
                continue
            os.symlink(owner, f"{directory}/{name}")
            (directory / LAST).write_text(name)
            return _reservation(address, pod_cidr, fresh=True)
    raise Exhausted(f"cannot allocate address for {owner}: no free address in {pod_cidr}")


def release(directory: Path, owner: str) -> None:
    """Give back every address of an owner; none: nothing to do."""
    if not directory.is_dir():
        return
    with _locked(directory):
        for name in _held(directory, _names(directory), owner):
            os.unlink(f"{directory}/{name}")


def observe(directory: Path) -> dict[ipaddress.IPv4Address, str]:
    """Owner by reserved address; a directory that is not there has none."""
    if not directory.is_dir():
        return {}
    with _locked(directory):
        names = _names(directory)
        return {ipaddress.IPv4Address(it): os.readlink(f"{directory}/{it}") for it in names}


def find(directory: Path, owner: str) -> ipaddress.IPv4Address | None:
    """The address an owner has, or None."""
    return next((it for it, holder in observe(directory).items() if holder == owner), None)


def _reservation(
    address: ipaddress.IPv4Address, pod_cidr: ipaddress.IPv4Network, *, fresh: bool
) -> Reservation:
    pod_ip = ipaddress.IPv4Interface((address, pod_cidr.prefixlen))
    return Reservation(pod_ip=pod_ip, fresh=fresh)


def _candidates(
    pod_cidr: ipaddress.IPv4Network, last: ipaddress.IPv4Address | None
) -> Iterator[ipaddress.IPv4Address]:
    """Every address a pod may have, once, beginning after `last`."""
    first = int(pod_cidr.network_address) + 2
    count = pod_cidr.num_addresses - 3
    start = (int(last) + 1 - first) % count if last is not None and last in pod_cidr else 0
    for step in range(count):
        yield ipaddress.IPv4Address(first + (start + step) % count)


def _names(directory: Path) -> set[str]:
    """Reserved addresses as text: a node's add looks at all of them, so nothing is parsed that need not be."""
    return {name for name in os.listdir(directory) if name[0].isdigit()}


def _held(directory: Path, names: set[str], owner: str) -> list[str]:
    """Those of the reserved addresses that an owner has."""
    prefix = f"{directory}/"
    return [name for name in names if os.readlink(prefix + name) == owner]


def _last(directory: Path) -> ipaddress.IPv4Address | None:
    """The address reserved last; a file torn by a crash only loses the place to go on from."""
    try:
        return ipaddress.IPv4Address((directory / LAST).read_text())
    except (FileNotFoundError, ValueError):
        return None


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One thread of one process at a time. A lock dies with its holder."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
