"""What a cluster must leave as it was: everything of the machine that netpod could touch, as comparable text."""

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from netpod.linux import netns, process
from netpod.paths import MARK

# Counters of the kernel that change by themselves.
_VOLATILE = re.compile(
    r"/proc/sys/(net/netfilter/nf_conntrack_count|net/ipv4/tcp_fastopen_key|kernel/random/|"
    r"kernel/ns_last_pid|kernel/pty/nr|fs/(dentry-state|inode-nr|inode-state|file-nr|aio-nr|quota/))"
)
_FOLDERS = ("net", "kernel", "fs")


def snapshot(*, but: str = "") -> dict[str, str]:
    """Return facts by name: iptables, nftables, routes, links, sysctls, netns, mounts, processes, files.

    Args:
        but: A cluster that may live on meanwhile; its namespaces, processes and files are left out.
    """
    _reap()
    return {
        "iptables-save": _output("iptables-save"),
        "ip6tables-save": _output("ip6tables-save"),
        "nft": _output("nft", "list", "ruleset"),
        "routes": _output("ip", "route", "show", "table", "all"),
        "rules": _output("ip", "rule", "show"),
        "addresses": _output("ip", "address", "show"),
        "sysctls": _sysctls(),
        "netns": "\n".join(n for n in netns.list_netns() if not _of(but, n)),
        "mounts": _mounts(but),
        "processes": "\n".join(f"{pid} {argv}" for pid, argv in processes(but=but).items()),
        "files": "\n".join(_files(but)),
    }


def assert_same(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Fail with the lines that differ."""
    for name, text in before.items():
        was, now = text.splitlines(), after[name].splitlines()
        gone = [line for line in was if line not in now]
        new = [line for line in now if line not in was]
        assert text == after[name], f"{name} changed: gone {gone[:10]}, new {new[:10]}"


def cgroups(cluster: str) -> list[Path]:
    """Return a cluster's control groups; the hierarchy is the whole machine's, also in private namespaces."""
    return [p for p in Path("/sys/fs/cgroup").glob(f"**/netpod/{cluster}") if p.is_dir()]


def processes(*, of: str = "", but: str = "") -> dict[int, str]:
    """Return the command line by pid of all processes, of one cluster's, or of all but one cluster's."""
    found = {}
    for entry in sorted(os.listdir("/proc")):
        if not entry.isdigit():
            continue
        folder = Path("/proc", entry)
        with contextlib.suppress(OSError):
            marks = {item for item in (folder / "environ").read_bytes().split(b"\0")}
            argv = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if of and f"{MARK}={of}".encode() not in marks:
                continue
            if but and f"{MARK}={but}".encode() in marks:
                continue
            if argv:
                found[int(entry)] = argv.strip()
    return found


def _of(cluster: str, name: str) -> bool:
    return bool(cluster) and name.startswith(f"netpod-{cluster}-")


def _output(*argv: str) -> str:
    text = process.run(argv).stdout.decode()
    # The time of day and counters of packets are no configuration.
    lines = [line for line in text.splitlines() if not line.startswith("# ")]
    return "\n".join(re.sub(r"\[\d+:\d+\]", "", line) for line in lines)


def _sysctls() -> str:
    lines = []
    for folder in _FOLDERS:
        for root, _, names in os.walk(f"/proc/sys/{folder}"):
            for name in names:
                path = f"{root}/{name}"
                if _VOLATILE.match(path):
                    continue
                try:
                    lines.append(f"{path} = {Path(path).read_bytes()!r}")
                except OSError as error:
                    lines.append(f"{path}: {error.errno}")
    return "\n".join(sorted(lines))


def _mounts(but: str) -> str:
    """Mount points with their types, without ids and order, and without /run/netns while others use it."""
    lines = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        point = left.split()[4]
        if _of(but, Path(point).name) or (but and point == "/run/netns"):
            continue
        lines.append(f"{point} {right.split()[0]}")
    return "\n".join(sorted(lines))


def _files(but: str) -> list[str]:
    found = []
    for root in (Path("/run"), Path("/var/lib"), Path("/tmp"), Path("/dev/shm")):
        for entry in sorted(root.iterdir()):
            if entry.name == "netpod" and root.name in ("run", "lib"):
                found += [str(entry / it) for it in sorted(os.listdir(entry)) if it != but]
            elif "netpod" in entry.name and entry != Path("/tmp/netpod"):
                found.append(str(entry))
    return found


def _reap() -> None:
    """Collect what orphans of killed processes have left; they come to this process."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
