"""Cut wires: frames between two ports of a bridge are dropped, both ways.

A table of family bridge of our own, `netpod-cuts`, gone with the last cut. Source: nft(8), netfilter's bridge hooks.
"""

from collections.abc import Iterable

from netpod.linux import nft

NAME = "netpod-cuts"
Pair = tuple[str, str]
"""Names of two ports."""


def observe(netns: str) -> set[Pair]:
    """Pairs that are cut, the names of each in order of the alphabet."""
    found: set[Pair] = set()
    for item in nft.list_json(netns, "ruleset"):
        each = item.get("set", {})
        if (each.get("family"), each.get("table")) == ("bridge", NAME):
            for element in each.get("elem", ()):
                first, second = element["concat"]
                found.add((min(first, second), max(first, second)))
    return found


def replace(netns: str, pairs: Iterable[Pair]) -> None:
    """Let exactly these pairs be cut, in one transaction.

    Raises:
        CommandFailed: nothing was changed.
    """
    both = sorted({pair for a, b in pairs for pair in ((a, b), (b, a))})
    # Declared before it is deleted, or deleting an absent one would fail.
    lines = [f"table bridge {NAME}", f"delete table bridge {NAME}"]
    if both:
        elements = ", ".join(f'"{a}" . "{b}"' for a, b in both)
        lines += [
            f"table bridge {NAME} {{",
            "set cut {",
            "type ifname . ifname",
            f"elements = {{ {elements} }}",
            "}",
            "chain forward {",
            "type filter hook forward priority filter",
            "iifname . oifname @cut counter drop",
            "}",
            "}",
        ]
    nft.apply(netns, "\n".join(lines) + "\n")
