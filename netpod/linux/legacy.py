"""iptables' legacy variant through libiptc: rules are built with its API, each table is one commit.

Reading is iptables-legacy-save's (`iptables.save`): libiptc has no text. A rule comes as the line that would print,
`-A CHAIN ...`, and is taken apart here; the extensions (matches, targets) are libxtables' own.

libiptc works on the network namespace of the calling thread, so every use is in a thread that entered it. Its tables
are process-wide objects that cache what they read, so one use at a time, and each begins with a refresh.

Sources: python-iptables; iptables-extensions(8).
"""

import functools
import shlex
import threading
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from netpod.errors import CommandFailed, Unsupported
from netpod.linux import netns as namespaces
from netpod.linux import xtoptions

Rules = tuple[str, ...]
_LOCK = threading.Lock()
_ADDRESSES = {"-s": "src", "-d": "dst", "-i": "in_interface", "-o": "out_interface"}


def change(
    netns: str,
    table: str,
    *,
    changed: Mapping[str, Rules],
    stale: Iterable[str] = (),
    insert: Iterable[str] = (),
    delete: Iterable[str] = (),
) -> None:
    """Change one table in one commit.

    Args:
        netns: Where; "" is this process's own network namespace.
        table: "nat", "filter" or "mangle".
        changed: Chains to write, whole.
        stale: Chains to delete.
        insert: Rules of built-in chains to put on top, one after the other.
        delete: Rules of built-in chains to delete; absent is fine.

    Raises:
        CommandFailed: the table is as it was.
        Unsupported: python-iptables or libiptc is not installed, or this kernel has no legacy tables.
    """
    with _LOCK:
        namespaces.call_in(
            netns, _change, netns, table, changed, tuple(stale), tuple(insert), tuple(delete)
        )


def load() -> None:
    """Load the library now, which may take long, and not when the first rule is due.

    Raises:
        Unsupported: python-iptables or libiptc is not installed.
    """
    with _LOCK:
        _library()


def _change(
    netns: str,
    name: str,
    changed: Mapping[str, Rules],
    stale: Rules,
    insert: Rules,
    delete: Rules,
) -> None:
    iptc = _library()
    argv = ["iptables-legacy", "-t", name]
    try:
        table = iptc.Table(name, autocommit=False)
        table.autocommit = False
        table.refresh()
    except iptc.IPTCError as error:
        raise Unsupported(f"cannot use legacy table {name}: {error}", errno=0) from error
    try:
        for chain in sorted({*changed, *stale}):
            if table.is_chain(chain):
                iptc.Chain(table, chain).flush()
            else:
                table.create_chain(chain)
        for chain, rules in sorted(changed.items()):
            handle = iptc.Chain(table, chain)
            for rule in rules:
                handle.append_rule(_rule(iptc, rule))
        for rule in insert:
            iptc.Chain(table, rule.split(" ", 2)[1]).insert_rule(_rule(iptc, rule))
        for rule in delete:
            handle = iptc.Chain(table, rule.split(" ", 2)[1])
            wanted = _rule(iptc, rule)
            if wanted in handle.rules:
                handle.delete_rule(wanted)
        for chain in sorted(stale):
            table.delete_chain(chain)
        table.commit()
    except (iptc.IPTCError, ValueError, AttributeError) as error:
        raise CommandFailed(argv, 1, str(error), netns=netns) from error
    finally:
        table.refresh()
        table.autocommit = True


def _rule(iptc: Any, text: str) -> Any:
    """Build `-A CHAIN ...`; parameters go to the match or target named last before them."""
    words = shlex.split(text)[2:]
    rule = iptc.Rule()
    part: Any = None
    position = 0
    while position < len(words):
        negated = words[position] == "!"
        position += negated
        option = words[position]
        position += 1
        if option in _ADDRESSES or option == "-p":
            value = ("!" if negated else "") + words[position]
            setattr(rule, _ADDRESSES.get(option, "protocol"), value)
            position += 1
        elif option == "-m":
            part = rule.create_match(words[position])
            position += 1
        elif option == "-j":
            part = rule.create_target(words[position])
            position += 1
        else:
            start = position
            while position < len(words) and not words[position].startswith("-"):
                if words[position] == "!":
                    break
                position += 1
            values = words[start:position]
            part.set_parameter(option.removeprefix("--"), [*(["!"] if negated else []), *values])
    if rule.target is None:
        # A rule that only counts: to libiptc a standard target whose name is empty falls through.
        rule.create_target("")
    return rule


@functools.cache
def _library() -> Any:
    try:
        with warnings.catch_warnings():
            # It leaves /proc/sys/kernel/modprobe open, where there is one.
            warnings.simplefilter("ignore", ResourceWarning)
            import iptc

            xtoptions.mend(iptc)
    except Exception as error:
        raise Unsupported(f"cannot use legacy iptables: {error}", errno=0) from error
    return iptc
