"""Who guards the supervisor: the control plane process starts it again when it dies."""

import asyncio
import logging
import os

from netpod.cluster import launch, role
from netpod.cluster.config import ClusterConfig
from netpod.errors import NetpodError
from netpod.linux import process

log = logging.getLogger(__name__)
_PAUSE_SECONDS = 0.2


async def run(config: ClusterConfig) -> None:
    """Keep a supervisor alive, forever. A cluster whose configuration is gone is being taken down."""
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
        await asyncio.sleep(_PAUSE_SECONDS)
        if not (config.paths.state / "config.json").exists():
            return
        if not role.holder(config.paths, role.SUPERVISOR):
            log.warning("the supervisor is gone; starting another")
            try:
                _adopt(launch.spawn(config))
            except NetpodError:
                log.exception("cannot start a supervisor")
            await asyncio.sleep(_PAUSE_SECONDS * 10)


def _adopt(pid: int) -> None:
    """Reap the new supervisor's process when it ends, without waiting for it."""
    loop = asyncio.get_running_loop()
    pidfd = os.pidfd_open(pid)

    def ended() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        process.reap(pid)

    loop.add_reader(pidfd, ended)
