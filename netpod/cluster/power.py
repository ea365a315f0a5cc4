"""Cut a node's power: its traffic and its processes end at once, as those of a machine whose plug is pulled.

Asked of the kernel like cleanup.py: whoever stands in the node's namespace or in one of its pods', and whoever descends
from its shim. The shim's records stay, as a machine's disk does, so that a node that boots again finds its pods' past.
"""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from netpod.api.cri import Sandbox
from netpod.cluster import cleanup, role, underlay
from netpod.cluster.config import ClusterConfig, NodeConfig
from netpod.cluster.role import Role
from netpod.errors import NetpodError
from netpod.linux import netns, pids, process
from netpod.shim import cgroups, pidfile, records

_SECONDS = 10.0


def cut(config: ClusterConfig, node: NodeConfig) -> None:
    """End a node's traffic, then its processes, then its namespaces; what has ended already is well.

    Its configuration says before that it shall not run, so nothing starts it again meanwhile.

    Raises:
        NetpodError: a process does not end.
    """
    underlay.unplug_node(config, node)
    sandboxes = list(_sandboxes(config, node))
    names = [config.paths.netns_node(node.name)]
    names += [it.config.netns for it in sandboxes if it.config.netns not in ("", names[0])]
    deadline = time.monotonic() + _SECONDS
    while fds := _freeze(config, node, names):
        if time.monotonic() > deadline:
            raise NetpodError(f"cannot stop node {node.name}: its processes do not end")
        for fd in fds:
            process.send_signal(fd, signal.SIGKILL)
        cleanup.wait_all(fds, deadline)
    for name in names:
        netns.delete_netns(name)


def forget(config: ClusterConfig, node: NodeConfig) -> None:
    """Remove the disk of a node that will not come back: records, reservations, logs of pods, cgroups, keys."""
    paths = config.paths
    for it in _sandboxes(config, node):
        about = it.config
        _remove(paths.pod_logs(about.namespace, about.name, about.uid))
        cgroups.remove(f"{config.name}/{about.uid}")
    _remove(paths.node(node.name))
    for kind in ("shim", "node"):
        for file in (paths.logs / f"{kind}-{node.name}.log", paths.pids / f"{kind}-{node.name}"):
            file.unlink(missing_ok=True)
    for file in paths.pki.glob(f"kubelet-{node.name}.*"):
        file.unlink(missing_ok=True)


def _sandboxes(config: ClusterConfig, node: NodeConfig) -> Iterator[Sandbox]:
    for directory in records.entries(records.sandboxes(config.paths.node(node.name))):
        found = records.read_struct(directory / "config.json", Sandbox)
        if found is not None:
            yield found


def _freeze(config: ClusterConfig, node: NodeConfig, names: list[str]) -> list[int]:
    """Return descriptors of the node's processes, the shim and the node process stopped first: no child escapes."""
    ours = {
        pid
        for kind in ("shim", "node")
        if (pid := role.holder(config.paths, Role(kind, node.name)))
    }
    for pid in ours:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    inodes = {netns.inode(name) for name in names if netns.exists(name)}
    pids = {*ours, *_launchers(config, node), *_descendants(ours), *_inside(inodes)} - {os.getpid()}
    fds = []
    for pid in pids:
        with contextlib.suppress(OSError):
            fds.append(os.pidfd_open(pid))
    return fds


def _launchers(config: ClusterConfig, node: NodeConfig) -> Iterator[int]:
    """Programs on their way up outlive the shim that forked them, and stand in nobody's namespace yet."""
    for directory in records.entries(records.containers(config.paths.node(node.name))):
        known = pidfile.read(directory, "launcher")
        if known is not None and pids.alive(known.pid, known.started):
            yield known.pid


def _inside(inodes: set[int]) -> Iterator[int]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{entry.name}/ns/net").st_ino in inodes:
                    yield int(entry.name)


def _descendants(pids: set[int]) -> set[int]:
    """Children of these processes, their children, and so on. Source: proc_pid_children(5)."""
    found: set[int] = set()
    todo = list(pids)
    while todo:
        pid = todo.pop()
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
                fresh = {int(child) for child in children} - found - pids
                found |= fresh
                todo += fresh
    return found


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)
