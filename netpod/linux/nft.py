"""nftables rule sets: handed over whole by nft(8), listed as text or JSON.

`nft -f -` is one transaction: all of the text takes effect, or none. Sources: nft(8), libnftables-json(5).
"""

import errno
import json
import re
from collections.abc import Iterable
from typing import Any

from netpod.errors import CommandFailed
from netpod.ip import Family
from netpod.linux import process

_POSITION = re.compile(r"/dev/stdin:(\d+):")


def apply(netns: str, text: str, *, timeout: float = 30) -> None:
    """Carry out nft commands in one transaction.

    Raises:
        CommandFailed: nothing was changed; stderr ends with the line at fault.
        Unsupported: nft is not installed.
    """
    _run(netns, ["nft", "-f", "-"], text, timeout)


def check(netns: str, text: str) -> None:
    """Let the kernel judge nft commands without carrying them out; raises as `apply` does."""
    _run(netns, ["nft", "-c", "-f", "-"], text, 30)


def supported(netns: str = "", families: Iterable[Family] = (Family.IPV4,)) -> bool:
    """Whether this kernel has tables of these address families; nothing is made.

    Raises:
        CommandFailed: it cannot be told.
        Unsupported: nft is not installed.
    """
    probe = "".join(f"add table {family.nft} netpod-probe\n" for family in families)
    try:
        check(netns, probe)
    except CommandFailed as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT):
            return False
        raise
    return True


def list_text(netns: str, *arguments: str, stateless: bool = False) -> str:
    """`nft list ruleset`, or what the arguments say, e.g. "table", "ip", "kube-proxy"; stateless: no counters."""
    argv = ["nft", *(["-s"] if stateless else []), "list", *(arguments or ("ruleset",))]
    return process.run(argv, netns=netns).stdout.decode()


def list_json(netns: str, *arguments: str) -> list[dict[str, Any]]:
    """The same as objects with handles: [{"table": {...}}, {"chain": {...}}, ...]."""
    argv = ["nft", "-j", "-a", "list", *(arguments or ("ruleset",))]
    found: list[dict[str, Any]] = json.loads(process.run(argv, netns=netns).stdout)["nftables"]
    return found


def _run(netns: str, argv: list[str], text: str, timeout: float) -> None:
    try:
        process.run(argv, stdin=text.encode(), netns=netns, timeout=timeout)
    except CommandFailed as error:
        place = _POSITION.search(error.stderr)
        lines = text.splitlines()
        if place is None or not 0 < int(place[1]) <= len(lines):
            raise
        said = error.stderr[place.end() :].splitlines()[0].split("Error:")[-1].strip()
        line = f"line {place[1]}: {said}: {lines[int(place[1]) - 1].strip()}"
        stderr = f"{error.stderr.rstrip()}\n{line}"
        raise CommandFailed(
            argv, error.status, stderr, errno=process.errno_in(error.stderr), netns=netns
        ) from error
