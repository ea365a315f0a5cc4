"""Bring a cluster up on this machine, and say when it is of use."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from netpod.cluster import cleanup, doctor, ready, role, supervisor, underlay
from netpod.cluster.config import ClusterConfig
from netpod.errors import NetpodError, UsageError
from netpod.linux import link, route
from netpod.paths import Paths

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A cluster that answers. `seconds` is from the request to the last answer."""

    seconds: float
    kubeconfig: Path


def up(
    config: ClusterConfig,
    progress: Progress,
    *,
    wait: bool = True,
    timeout: float = 60.0,
    retain: bool = False,
) -> Started:
    """Make and start a cluster.

    Args:
        config: What to make; checked first.
        progress: Told the name of each step when it begins.
        wait: Whether to wait until DNS, ingress and load balancer answer.
        timeout: Seconds to wait for that.
        retain: Leave a cluster that failed to start as it is, to look at it.

    Raises:
        UsageError: the configuration cannot be, or the cluster is already up. Nothing was made.
        Unsupported: this machine lacks something. Nothing was made.
        NetpodError: it did not start; all of it was removed again unless `retain`.
    """
    began = time.monotonic()
    progress("checking this machine")
    doctor.require_essentials()
    config.check(_host_routes())
    _check_free(config.name)
    try:
        with _making(config):
            progress("starting processes")
            supervisor_pid = supervisor.spawn(config)
            progress("wiring nodes")
            underlay.ensure(config)
        if wait:
            ready.wait(config, supervisor_pid, progress, timeout=timeout)
    except BaseException:
        if not retain:
            cleanup.cleanup(config.name)
        raise
    return Started(seconds=time.monotonic() - began, kubeconfig=config.paths.kubeconfig)


def down(name: str) -> None:
    """Remove a cluster and everything in it.

    Raises:
        UsageError: there is no such cluster.
    """
    if not cleanup.cleanup(name):
        raise UsageError(f"no cluster {name} is up")


def is_up(name: str) -> bool:
    """Whether the cluster has a supervisor."""
    return bool(role.holder(Paths(name), role.SUPERVISOR))


def _host_routes() -> list[tuple[IPv4Network, str]]:
    names = {item.index: item.name for item in link.observe_links("")}
    return [(item.destination, names.get(item.index, "?")) for item in route.observe("")]


def _check_free(name: str) -> None:
    if is_up(name):
        raise UsageError(
            f"cluster {name} is already up; use it, take it down with netpod down, or name another with --cluster"
        )
    if cleanup.remains(name):
        raise UsageError(
            f"cannot start cluster {name}: an earlier one left something behind; remove it with netpod cleanup"
        )
    for other in cleanup.clusters():
        if other.startswith(f"{name}-") or name.startswith(f"{other}-"):
            raise UsageError(
                f"cannot use cluster name {name}: its namespaces could be taken for cluster {other}'s; choose another"
            )


@contextlib.contextmanager
def _making(config: ClusterConfig) -> Iterator[None]:
    """Hold the lock that keeps the new processes waiting until their namespaces are there."""
    paths = config.paths
    try:
        for folder in (paths.run, paths.state):
            folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise NetpodError(f"cannot make {error.filename}: {error.strerror}") from error
    fd = os.open(paths.run / "making.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        config.save()
        yield
    finally:
        os.close(fd)


def wait_made(config: ClusterConfig) -> None:
    """Wait until `up` has made the namespaces, then make whatever is missing of them."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(config.paths.run / "making.lock", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
        finally:
            os.close(fd)
    underlay.ensure(config)


__all__ = ["Started", "down", "is_up", "up", "wait_made"]
