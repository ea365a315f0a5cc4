"""The namespaces a pod's containers share, held by a real pause process (`catatonit -P`).

The namespaces are made by a thread that ends right after; the pause process is spawned from it, which is cheaper than
forking a Python process only to exec.
"""

import os
import signal
import socket
import threading
from collections.abc import Mapping

from netpod.api.cri import SandboxConfig
from netpod.errors import KernelError
from netpod.linux import libc, netns, process, sysctl
from netpod.shim import child

PAUSE = ("catatonit", "-P")


def start(config: SandboxConfig, env: Mapping[str, str]) -> int:
    """Make the namespaces, pin the network namespace's name and return the pid of the pause process.

    A name that a crash left behind is taken over: whoever calls has made sure that no living sandbox has it.

    Raises:
        KernelError: the kernel refused, or catatonit is not installed (Unsupported).
    """
    failure: list[Exception] = []
    pids: list[int] = []

    def make() -> None:
        try:
            _enter(config)
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            try:
                pids.append(process.spawn(PAUSE, env=env, session=True, stdout=null, stderr=null))
            finally:
                os.close(null)
        except (OSError, KernelError) as error:
            failure.append(error)

    thread = threading.Thread(target=make, name="sandbox")
    thread.start()
    thread.join()
    if not failure:
        return pids[0]
    if not config.host_network:
        netns.delete_netns(config.netns)
    error = failure[0]
    if isinstance(error, KernelError):
        raise error
    number = getattr(error, "errno", None) or 0
    raise KernelError(f"cannot create sandbox of {config.namespace}/{config.name}", errno=number)


def _enter(config: SandboxConfig) -> None:
    if config.host_network:
        if config.netns:
            fd = netns.open_fd(config.netns)
            try:
                libc.setns(fd, libc.CLONE_NEWNET)
            finally:
                os.close(fd)
        libc.unshare(libc.CLONE_NEWIPC | libc.CLONE_NEWUTS)
    else:
        libc.unshare(child.KINDS)
        netns.delete_netns(config.netns)
        fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            netns.bind_fd(fd, config.netns)
        finally:
            os.close(fd)
    if config.share_pid:
        libc.unshare(
            libc.CLONE_NEWPID
        )  # of what this thread spawns: the pause process is its number 1
    socket.sethostname(config.hostname)
    for name, value in config.sysctls.items():
        # Which namespaces' parameter that is, is decided by the thread that opens the file: this one's.
        sysctl.path(name).write_text(value)


def kill_strays(config: SandboxConfig) -> None:
    """Kill every process in the sandbox's network namespace, then take its name away.

    For a sandbox whose pause process was never recorded, or outlived its record. Nobody's with `host_network`.
    """
    if config.host_network or not config.netns:
        return
    if netns.exists(config.netns):
        inode = netns.inode(config.netns)
        for entry in os.listdir("/proc"):
            if entry.isdigit() and _inode(entry) == inode:
                try:
                    os.kill(int(entry), signal.SIGKILL)
                except ProcessLookupError:
                    continue
    netns.delete_netns(config.netns)


def _inode(pid: str) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return 0
