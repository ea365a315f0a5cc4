"""iptables rule sets: handed over whole by iptables-restore(8), read back by iptables-save(8).

The variant is the distribution's (`iptables` and `ip6tables`, today nf_tables). A table's part of the text is one
transaction; with `noflush`, chains that the text does not declare stay as they are, and a chain it declares is emptied
first.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from netpod.errors import CommandFailed
from netpod.ip import Family
from netpod.linux import process

_LINE = re.compile(r"line:? (\d+)|failed: (\d+)")
_PROGRAM = re.compile(r"^ip6?tables-restore(?: v\S+ \(\w+\))?:")
_POINTER = re.compile(r"Error occurred at line|Try `")
_SAVED = re.compile(r"^(?:\[(\d+):(\d+)\] )?-A (\S+) ?(.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A rule and what it has matched.

    Attributes:
        table: "nat", "filter", ...
        chain: The chain it stands in.
        position: Its number in the chain, from 1, as in `iptables -L --line-numbers`.
        rule: As iptables-save prints it after the chain's name.
    """

    table: str
    chain: str
    position: int
    rule: str
    packets: int
    bytes: int


def restore(
    netns: str,
    text: str,
    *,
    noflush: bool = True,
    counters: bool = False,
    test: bool = False,
    timeout: float = 60,
    family: Family = Family.IPV4,
    legacy: bool = False,
) -> None:
    """Hand rules over, each table in one transaction.

    Args:
        netns: Where; "" is this process's own network namespace.
        text: What iptables-save would print: `*table`, `:CHAIN - [0:0]`, `-A ...`, `COMMIT`.
        noflush: Keep the chains that the text does not declare.
        counters: Take the counters in the text over instead of starting from zero.
        test: Only let the program and the kernel judge it.
        timeout: Seconds.
        family: Whose tables; IPv6's programs are called ip6tables.
        legacy: Whether it is the other variant.

    Raises:
        CommandFailed: that table is as it was; stderr ends with the rule at fault.
        Unsupported: iptables is not installed.
    """
    argv = [
        _program(family, "iptables-legacy-restore" if legacy else "iptables-restore"),
        "-w",
        "5",
    ]
    argv += ["--noflush"] if noflush else []
    argv += ["--counters"] if counters else []
    argv += ["--test"] if test else []
    try:
        process.run(argv, stdin=text.encode(), netns=netns, timeout=timeout)
    except CommandFailed as error:
        raise _explained(error, text) from error


def save(
    netns: str,
    table: str = "",
    *,
    counters: bool = False,
    legacy: bool = False,
    family: Family = Family.IPV4,
) -> str:
    """Rules of one table, or of all tables in use, as iptables-save prints them; legacy: those of the other variant."""
    argv = [_program(family, "iptables-legacy-save" if legacy else "iptables-save")]
    argv += ["-c"] if counters else []
    argv += ["-t", table] if table else []
    return process.run(argv, netns=netns).stdout.decode()


def has_chain(netns: str, table: str, chain: str, *, family: Family = Family.IPV4) -> bool:
    """Whether a table has that chain."""
    program = _program(family, "iptables")
    try:
        process.run([program, "-w", "5", "-t", table, "-S", chain], netns=netns)
    except CommandFailed:
        return False
    return True


def parse_save(text: str) -> dict[str, dict[str, list[str]]]:
    """Rules by table and chain, from what iptables-save printed; counters are dropped.

    `parse_save(...)["nat"]["KUBE-SERVICES"][0]` is the rule after `-A KUBE-SERVICES `. A chain without rules is an
    empty list.
    """
    tables: dict[str, dict[str, list[str]]] = {}
    chains: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            chains = tables.setdefault(line[1:], {})
        elif line.startswith(":"):
            chains.setdefault(line[1:].split(" ", 1)[0], [])
        elif match := _SAVED.match(line):
            chains.setdefault(match[3], []).append(match[4])
    return tables


def list_counters(
    netns: str, table: str = "", *, legacy: bool = False, family: Family = Family.IPV4
) -> list[Counted]:
    """Every rule with its packet and byte counters, in order."""
    found: list[Counted] = []
    positions: dict[tuple[str, str], int] = {}
    current = ""
    for line in save(netns, table, counters=True, legacy=legacy, family=family).splitlines():
        if line.startswith("*"):
            current = line[1:]
        elif match := _SAVED.match(line):
            chain = match[3]
            position = positions[current, chain] = positions.get((current, chain), 0) + 1
            found.append(
                Counted(
                    table=current,
                    chain=chain,
                    position=position,
                    rule=match[4],
                    packets=int(match[1] or 0),
                    bytes=int(match[2] or 0),
                )
            )
    return found


def missing_jumps(
    saved: Mapping[str, Mapping[str, list[str]]], table: str, jumps: Mapping[str, str]
) -> list[str]:
    """`-A CHAIN RULE` lines of `jumps` (rule by built-in chain) that `saved` has not, for a restore text.

    Under --noflush a rule of a built-in chain would be added again at each restore.
    """
    chains = saved.get(table, {})
    return [
        f"-A {chain} {rule}" for chain, rule in jumps.items() if rule not in chains.get(chain, [])
    ]


def _program(family: Family, name: str) -> str:
    return name.replace("iptables", "ip6tables") if family is Family.IPV6 else name


def _explained(error: CommandFailed, text: str) -> CommandFailed:
    """The same failure with the rule at fault as stderr's last line."""
    place = _LINE.search(error.stderr)
    number = int(place[1] or place[2]) if place else 0
    lines = text.splitlines()
    if not 0 < number <= len(lines):
        return error
    said = [_PROGRAM.sub("", line).strip() for line in error.stderr.splitlines()]
    reason = next((line for line in said if line and not _POINTER.match(line)), "")
    stderr = f"{error.stderr.rstrip()}\n{reason}: {lines[number - 1]}"
    return CommandFailed(
        error.argv, error.status, stderr, errno=process.errno_in(error.stderr), netns=error.netns
    )
