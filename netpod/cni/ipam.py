"""Addresses of one node's pod CIDRs, one of each family, reserved on disk: host-local.

A reservation is a symbolic link named for the address and pointing at its owner, so `ls -l` shows who has what. Making
one is a single step that fails when the address is taken: a crash leaves a reservation whole or not at all. A note of
the owner's, written before, says which may be his, so that no call reads those of all the others.

Source: CNI host-local, plugins/ipam/host-local/backend/allocator/allocator.go and backend/disk.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from netpod.errors import Exhausted
from netpod.ip import Address, Interface, Network, interface_of

LAST = "last_reserved_ip."
"""And the number of the pod CIDR."""
LOCK = "lock"
NOTE = "of."
"""And the SHA-1 of an owner: his note, a link to `ADDRESS ... OWNER`."""
_FIRST = frozenset("0123456789abcdef:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Addresses somebody has.

    Attributes:
        pod_ips: One of each pod CIDR, with its prefix length, e.g. 10.244.1.7/24.
        fresh: Whether this very call reserved one of them.
    """

    pod_ips: tuple[Interface, ...]
    fresh: bool


def allocate(directory: Path, pod_cidrs: Sequence[Network], owner: str) -> Reservation:
    """Reserve the next free address of every pod CIDR, or of none.

    The search goes round from the address reserved last, so that a freed one is used again as late as possible.

    Args:
        directory: Where the reservations are; made when absent.
        pod_cidrs: The node's; each with room for four addresses at least.
        owner: Who it is for; a second call for the same owner returns the same addresses.

    Returns:
        Addresses that are never the first (the network), the second (the bridge) or the last (broadcast).

    Raises:
        Exhausted: every address is reserved.
    """
    assert all(it.num_addresses >= 4 for it in pod_cidrs), "room for bridge, pod and broadcast"
    found: list[Interface] = []
    made: list[str] = []
    with _locked(directory):
        had = _held(directory, owner)
        held = [ip_address(name) for name in had]
        for number, pod_cidr in enumerate(pod_cidrs):
            address = next((it for it in held if it in pod_cidr), None)
            if address is None:
                last = directory / f"{LAST}{number}"
                free = (str(it) for it in _candidates(pod_cidr, _last(last)))
                name = next((it for it in free if not os.path.lexists(f"{directory}/{it}")), None)
                if name is None:
                    for other in made:
                        os.unlink(f"{directory}/{other}")
                    raise Exhausted(
                        f"cannot allocate address for {owner}: no free address in {pod_cidr}"
                    )
                made.append(name)
                _note(directory, owner, [*had, *made])
                os.symlink(owner, f"{directory}/{name}")
                last.write_text(name)
                address = ip_address(name)
            found.append(interface_of(address, pod_cidr.prefixlen))
    return Reservation(pod_ips=tuple(found), fresh=bool(made))


def reserve(directory: Path, owner: str, addresses: Iterable[str]) -> bool:
    """Reserve these very addresses for an owner who has none; return whether he has one of them now.

    One that somebody else has stays his.
    """
    with _locked(directory):
        if _held(directory, owner):
            return False
        fresh = [name for name in addresses if not os.path.lexists(f"{directory}/{name}")]
        _note(directory, owner, fresh)
        for name in fresh:
            os.symlink(owner, f"{directory}/{name}")
    return bool(fresh)


def release(directory: Path, owner: str) -> None:
    """Give back every address of an owner; none: nothing to do."""
    if not directory.is_dir():
        return
    with _locked(directory):
        for name in _held(directory, owner):
            os.unlink(f"{directory}/{name}")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_note_of(directory, owner))


def observe(directory: Path) -> dict[Address, str]:
    """Owner by reserved address; a directory that is not there has none."""
    if not directory.is_dir():
        return {}
    with _locked(directory):
        names = _names(directory)
        return {ip_address(it): os.readlink(f"{directory}/{it}") for it in names}


def find(directory: Path, owner: str) -> tuple[Address, ...]:
    """The addresses an owner has, IPv4 first."""
    found = [it for it, holder in observe(directory).items() if holder == owner]
    return tuple(sorted(found, key=lambda it: (it.version, it.packed)))


def _candidates(pod_cidr: Network, last: Address | None) -> Iterator[Address]:
    """Every address a pod may have, once, beginning after `last`."""
    count = pod_cidr.num_addresses - 3
    first = int(pod_cidr.network_address) + 2
    start = (int(last) + 1 - first) % count if last is not None and last in pod_cidr else 0
    for step in range(count):
        yield pod_cidr[2 + (start + step) % count]


def _names(directory: Path) -> set[str]:
    """Reserved addresses as text."""
    return {name for name in os.listdir(directory) if name[0] in _FIRST}


def _held(directory: Path, owner: str) -> list[str]:
    """The addresses an owner has: of those in his note, which may name one he did not get, those that are his."""
    try:
        *noted, _ = os.readlink(_note_of(directory, owner)).split()
    except FileNotFoundError:
        return []
    return [name for name in noted if _owner(f"{directory}/{name}") == owner]


def _owner(path: str) -> str:
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return ""


def _note(directory: Path, owner: str, names: Sequence[str]) -> None:
    """Write an owner's note, before the reservations it names are made."""
    if names:
        beside = f"{directory}/{NOTE}new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        os.symlink(" ".join((*names, owner)), beside)
        os.rename(beside, _note_of(directory, owner))


def _note_of(directory: Path, owner: str) -> str:
    return f"{directory}/{NOTE}{hashlib.sha1(owner.encode(), usedforsecurity=False).hexdigest()}"


def _last(file: Path) -> Address | None:
    """The address reserved last; a file torn by a crash only loses the place to go on from."""
    try:
        return ip_address(file.read_text())
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
