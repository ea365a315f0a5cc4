"""Start a supervisor, and keep what it starts waiting until the namespaces are made.

Apart from supervisor.py, because whoever starts one need not import all the components it runs.
"""

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator

from netpod.cluster import role
from netpod.cluster.config import ClusterConfig
from netpod.errors import NetpodError
from netpod.linux import process
from netpod.paths import MARK


def spawn(config: ClusterConfig) -> int:
    """Start a supervisor in its own session and return its pid; harmless when one is there."""
    environment = {**os.environ, MARK: config.name, "PYTHONUNBUFFERED": "1"}
    # -P: whatever lies in the directory a person happens to stand in is not imported by root.
    argv = [sys.executable, "-P", "-m", "netpod.cluster.supervisor", config.name]
    log_file = config.paths.logs / "supervisor.log"
    log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return process.spawn(argv, stdout=fd, stderr=fd, env=environment, session=True)
    finally:
        os.close(fd)


def ensure_supervisor(config: ClusterConfig) -> int:
    """Start a supervisor if a cluster that shall run has none; return its pid, 0 when none was started.

    The guards do that too, unless all of them were killed at once with the supervisor.
    """
    if config.stopped or role.holder(config.paths, role.SUPERVISOR):
        return 0
    return spawn(config)


@contextlib.contextmanager
def making(config: ClusterConfig, *, again: bool = False) -> Iterator[None]:
    """Make the cluster's folders and hold the lock that `wait_made` waits for.

    Args:
        config: What is being made; saved.
        again: Whether the cluster was there before, so that its durable folder is there too.

    Raises:
        NetpodError: a folder is there already or cannot be made.
    """
    paths = config.paths
    try:
        paths.run.mkdir(mode=0o700, parents=True)
        paths.state.mkdir(mode=0o700, parents=True, exist_ok=again)
    except OSError as error:
        raise NetpodError(f"cannot make {error.filename}: {error.strerror}") from error
    fd = os.open(_lock(config), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        config.save()
        yield
    finally:
        os.close(fd)


def wait_made(config: ClusterConfig) -> None:
    """Wait until whoever makes the cluster has made its namespaces, or died of it."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(_lock(config), os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
        finally:
            os.close(fd)


def _lock(config: ClusterConfig) -> str:
    return str(config.paths.run / "making.lock")
