"""Which chains and jumps of iptables' tables belong to which mode (pure).

iptables and IPVS mode have chains of the same names, KUBE-SERVICES of table nat for one. The mode that a node goes to
writes them, so what is taken away of the mode it comes from is only what the other has not.
"""

from netpod.proxy import iptables, ipvs_rules
from netpod.proxy.config import Mode
from netpod.proxy.names import Chain, is_port_chain
from netpod.proxy.restore import Rules, Ruleset, removal

_IPTABLES = {
    "mangle": {Chain.CANARY},
    "filter": {
        *(Chain.CANARY, Chain.FIREWALL, Chain.FORWARD),
        *(chain for table, chain in iptables.SHARED if table == "filter"),
    },
    "nat": {
        *(Chain.CANARY, Chain.MARK_MASQ, Chain.POSTROUTING),
        *(chain for table, chain in iptables.SHARED if table == "nat"),
    },
}


def owns(mode: Mode | None, table: str, chain: str) -> bool:
    """Whether a mode has a chain of that name in that table."""
    if mode is Mode.IPTABLES:
        return chain in _IPTABLES.get(table, ()) or (table == "nat" and is_port_chain(chain))
    return mode is Mode.IPVS and chain in ipvs_rules.CHAINS.get(table, ())


def tells(mode: Mode, table: str, chain: str) -> bool:
    """Whether a chain of that name says that this mode is there, because the other has none."""
    other = Mode.IPVS if mode is Mode.IPTABLES else Mode.IPTABLES
    return owns(mode, table, chain) and not owns(other, table, chain)


def jumps(mode: Mode | None) -> frozenset[tuple[str, str]]:
    """(table, rule) of built-in chains that lead into a mode's."""
    if mode is Mode.IPTABLES:
        return frozenset(iptables.JUMPS)
    return frozenset(ipvs_rules.JUMPS) if mode is Mode.IPVS else frozenset()


def taken_away(
    observed: Ruleset, mode: Mode, *, but: Mode | None = None
) -> tuple[dict[str, dict[str, Rules]], dict[str, dict[str, Rules]]]:
    """Chains to delete of a mode, and rules of other chains to delete first, both by chain by table.

    Args:
        observed: What the kernel has.
        mode: What goes.
        but: What stays.
    """
    return removal(
        observed,
        lambda table, chain: owns(mode, table, chain) and not owns(but, table, chain),
        jumps(mode) - jumps(but),
    )
