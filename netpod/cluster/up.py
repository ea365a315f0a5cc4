"""Bring a cluster up on this machine, and say when it is of use."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from netpod.cluster import cleanup, doctor, keys, launch, publish, ready, role, underlay
from netpod.cluster.config import ClusterConfig
from netpod.cluster.publish import Published
from netpod.errors import UsageError
from netpod.ip import Family, Network
from netpod.linux import link, route
from netpod.paths import Paths

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A cluster that answers. `seconds` is from the request to the last answer."""

    seconds: float
    kubeconfig: Path
    published: tuple[Published, ...] = ()


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
    config = replace(config, api_port=config.api_port or _free_port())
    try:
        with launch.making(config):
            progress("starting processes")
            supervisor_pid = launch.spawn(config)
            progress("wiring nodes")
            underlay.ensure(config)
            keys.ensure(config)
        if wait:
            ready.wait(config, supervisor_pid, progress, timeout=timeout)
    except BaseException:
        if not retain:
            cleanup.cleanup(config.name)
        raise
    return Started(
        seconds=time.monotonic() - began,
        kubeconfig=config.paths.kubeconfig,
        published=publish.load(config.paths),
    )


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


def _host_routes() -> list[tuple[Network, str]]:
    names = {item.index: item.name for item in link.observe_links("")}
    return [
        (item.destination, names.get(item.index, "?"))
        for family in Family
        for item in route.observe("", family=family)
    ]


def _free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has now; the API server keeps it from then on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
