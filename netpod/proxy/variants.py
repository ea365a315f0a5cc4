"""The two ways in which iptables mode reads and writes rules: the distribution's programs, and libiptc.

A process has libxtables' extensions for one address family only: IPv6 rules of the legacy variant are handed over by
ip6tables-legacy-restore.
"""

from netpod.ip import Family
from netpod.linux import iptables, legacy
from netpod.proxy.config import Variant
from netpod.proxy.restore import TABLES, Delta, Ruleset, parse_save, restore_text


def prepare(variant: Variant) -> None:
    """Get ready what the first hand-over would wait for."""
    if variant is Variant.LEGACY:
        legacy.load()


def observe(
    variant: Variant, netns: str, table: str = "", *, family: Family = Family.IPV4
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Chains and rules as the kernel has them, of one table or of all in use."""
    return parse_save(iptables.save(netns, table, legacy=is_legacy(variant), family=family))


def is_legacy(variant: Variant) -> bool:
    """Whether it is the one of the kernel's older interface."""
    return variant is Variant.LEGACY


def hand_over(variant: Variant, netns: str, delta: Delta, *, family: Family = Family.IPV4) -> None:
    """Carry out a delta: each table in one step, or not at all."""
    if variant is Variant.NFT or family is Family.IPV6:
        iptables.restore(netns, restore_text(delta), family=family, legacy=is_legacy(variant))
        return
    for table in TABLES:
        changed = delta.changed.get(table, {})
        stale, jumps = delta.stale.get(table, ()), delta.jumps.get(table, ())
        if changed or stale or jumps:
            legacy.change(netns, table, changed=changed, stale=stale, insert=jumps)


def remove(
    variant: Variant,
    netns: str,
    doomed: Ruleset,
    jumps: Ruleset,
    *,
    family: Family = Family.IPV4,
) -> None:
    """Delete chains, and the rules of other chains that lead to them.

    Args:
        variant: Of the rules.
        netns: Where they are.
        doomed: The chains, by table.
        jumps: The rules to delete first, by chain by table.
        family: Whose rules.
    """
    for table in TABLES:
        chains = tuple(sorted(doomed.get(table, {})))
        rules = [rule for found in jumps.get(table, {}).values() for rule in found]
        if not chains:
            continue
        if variant is Variant.LEGACY and family is Family.IPV4:
            legacy.change(netns, table, changed={}, stale=chains, delete=rules)
            continue
        lines = [f"*{table}", *(f":{chain} - [0:0]" for chain in chains)]
        lines += [f"-D {rule.removeprefix('-A ')}" for rule in rules]
        lines += [f"-X {chain}" for chain in chains]
        iptables.restore(
            netns, "\n".join([*lines, "COMMIT"]) + "\n", family=family, legacy=is_legacy(variant)
        )
