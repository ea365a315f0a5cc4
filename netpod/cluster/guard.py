"""Who guards the supervisor: the control plane process starts it again when it dies, else a node's process does."""

import asyncio
import logging
import os

from netpod.cluster import config as configuration
from netpod.cluster import launch, role
from netpod.cluster.config import ClusterConfig
from netpod.errors import NetpodError, UsageError
from netpod.linux import libc, process

log = logging.getLogger(__name__)
_PAUSE_SECONDS = 0.2
_TURN_SECONDS = 0.15


async def run(config: ClusterConfig, *, turn: int = 0, home: int = -1) -> None:
    """Keep a supervisor alive, forever, unless the cluster is being taken down or stopped.

    Args:
        config: The cluster.
        turn: Place in the row of guards; each gives those before it time to do it.
        home: Descriptor of the machine's network namespace, for a process that stands in another.
    """
    while True:
        pid = role.holder(config.paths, role.SUPERVISOR)
        if pid:
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                await process.await_exit(pidfd)
            finally:
                os.close(pidfd)
        await asyncio.sleep(_PAUSE_SECONDS + turn * _TURN_SECONDS)
        try:
            if configuration.load(config.name).stopped:
                return
        except UsageError:
            return
        if not role.holder(config.paths, role.SUPERVISOR):
            log.warning("the supervisor is gone; starting another")
            try:
                _adopt(await asyncio.to_thread(_spawn, config, home))
            except (NetpodError, OSError):
                log.exception("cannot start a supervisor")
            await asyncio.sleep(_PAUSE_SECONDS * 10)


def _spawn(config: ClusterConfig, home: int) -> int:
    """Start a supervisor in the machine's network namespace, whichever this process stands in."""
    if home < 0:
        return launch.spawn(config)
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.setns(home, libc.CLONE_NEWNET)
        try:
            return launch.spawn(config)
        finally:
            libc.setns(back, libc.CLONE_NEWNET)
    finally:
        os.close(back)


def _adopt(pid: int) -> None:
    """Reap the new supervisor's process when it ends, without waiting for it."""
    loop = asyncio.get_running_loop()
    pidfd = os.pidfd_open(pid)

    def ended() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        process.reap(pid)

    loop.add_reader(pidfd, ended)
