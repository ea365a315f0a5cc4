"""Rules as `netpod rules` shows them (values; pure)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, one element of a map or set, or one real server of IPVS.

    Attributes:
        rule: As the tool of its kind prints it.
        packets: What it matched, or None: nftables mode counts nothing, as upstream.
        bytes: Of those packets.
        active: Established connections of a real server; None for others.
        inactive: Its connections that begin or end, and those of UDP.
        meaning: What it does in a cluster, or "".
    """

    rule: str
    packets: int | None = None
    bytes: int | None = None
    active: int | None = None
    inactive: int | None = None
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One chain, map, set or virtual server, what it is for, and what in it concerns the Service."""

    table: str
    name: str
    purpose: str
    rules: tuple[Rule, ...]
