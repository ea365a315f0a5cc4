"""What is traced, in the two ways in which a kernel can be told: nf_tables, or legacy iptables without them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netpod.linux import netns, nft
from netpod.trace.model import Address
from netpod.trace.sources import legacyarm, nflog, nftrace
from netpod.trace.sources.legacyarm import Matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """Which packets are traced: an nftables table, and the same as matches of legacy iptables."""

    table: str
    matches: Matches


def flow(
    client_port: int, reserved: tuple[int, int], doors: Sequence[Address], *, protocol: str
) -> Aim:
    """One flow; see nftrace.compile_table."""
    return Aim(
        table=nftrace.compile_table(client_port, reserved, doors, protocol=protocol),
        matches=legacyarm.compile_flow(client_port, reserved, doors, protocol=protocol),
    )


def ports(low: int, high: int) -> Aim:
    """Many flows, by their source ports; see nftrace.compile_range."""
    return Aim(table=nftrace.compile_range(low, high), matches=legacyarm.compile_range(low, high))


def connections(doors: Sequence[Address]) -> Aim:
    """Other people's connections to some addresses; see nftrace.compile_doors."""
    return Aim(table=nftrace.compile_doors(doors), matches=legacyarm.compile_doors(doors))


def without_nftables(namespaces: Iterable[str]) -> bool:
    """Whether legacy iptables has to do it: it is in use, and this kernel has no nf_tables."""
    return any(map(nflog.in_use, namespaces)) and not nft.supported()


def arm(netns_name: str, aim: Aim, *, legacy: bool) -> None:
    """Start tracing in a namespace; when it returns, the next packet is traced.

    Raises:
        KernelError: it was refused.
    """
    if legacy:
        legacyarm.arm(netns_name, aim.matches)
    else:
        nftrace.arm(netns_name, aim.table)


def disarm(netns_name: str, *, legacy: bool) -> None:
    """Stop tracing in a namespace; not armed: nothing to do.

    Raises:
        KernelError: it was refused.
    """
    if legacy:
        legacyarm.disarm(netns_name)
    else:
        nftrace.disarm(netns_name)
    nflog.restore(netns_name)


def armed(netns_name: str) -> bool:
    """Whether a namespace is there and armed, in either way.

    Raises:
        KernelError: it went between two looks.
    """
    if not netns.exists(netns_name):
        return False
    return nftrace.armed(netns_name) or legacyarm.armed(netns_name)
