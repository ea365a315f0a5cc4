"""Bring a cluster up on this machine, and say when it is of use."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from netpod.cluster import (
    attach,
    cleanup,
    doctor,
    keys,
    launch,
    nodes,
    publish,
    ready,
    role,
    underlay,
)
from netpod.cluster import config as configuration
from netpod.cluster.config import ClusterConfig
from netpod.cluster.publish import Published
from netpod.errors import NetpodError, UsageError
from netpod.ip import Family, Network
from netpod.linux import link, route
from netpod.paths import Paths
from netpod.proxy.config import Mode
from netpod.proxy.ipvs_config import scheduler_of

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
    _check_free(config.name)
    config.check(_host_routes())
    attach.check(config)
    doctor.require_mode(Mode(config.proxy_mode), scheduler_of(config.ipvs_scheduler))
    if Family.IPV6 in config.families:
        doctor.require_ipv6()
    variant = doctor.choose_variant(config.iptables_variant, config.families)
    config = replace(
        config, iptables_variant=variant.value, api_port=config.api_port or _free_port()
    )
    try:
        with launch.making(config):
            progress("starting processes")
            supervisor_pid = launch.spawn(config)
            progress("wiring nodes")
            underlay.ensure(config)
            attach.ensure(config)
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


def stop(name: str) -> None:
    """End a cluster's processes and remove its namespaces; its objects, keys and addresses stay for `start`.

    Raises:
        UsageError: there is no such cluster.
        NetpodError: something does not end.
    """
    with nodes.locked(name):
        replace(configuration.load(name), stopped=True).save()
    cleanup.halt(name)


def start(
    name: str, progress: Progress, *, wait: bool = True, timeout: float = 60.0
) -> tuple[ClusterConfig, Started]:
    """Start a cluster that was stopped, killed, or was there before the machine was booted.

    What of it still runs is adopted, as after any crash; otherwise its namespaces are made again.

    Args:
        name: Of the cluster.
        progress: Told the name of each step when it begins.
        wait: Whether to wait until DNS, ingress and load balancer answer.
        timeout: Seconds to wait for that.

    Raises:
        UsageError: there is no such cluster, or its networks or port are somebody else's by now.
        Unsupported: this machine lacks something.
        NetpodError: it did not start; it is stopped again.
    """
    began = time.monotonic()
    progress("checking this machine")
    doctor.require_essentials()
    with nodes.locked(name):
        config = replace(configuration.load(name), stopped=False)
        running = is_running(config)
        supervisor_pid = _adopt(config) if running else _restore(config, progress)
    try:
        if wait:
            ready.wait(config, supervisor_pid, progress, timeout=timeout)
    except NetpodError:
        if not running:
            stop(name)
        raise
    seconds = time.monotonic() - began
    return config, Started(
        seconds=seconds,
        kubeconfig=config.paths.kubeconfig,
        published=publish.load(config.paths),
    )


def is_running(config: ClusterConfig) -> bool:
    """Whether any process of the cluster's own lives."""
    everybody = (role.SUPERVISOR, *role.roles(config))
    return any(role.holder(config.paths, item) for item in everybody)


def is_stopped(name: str) -> bool:
    """Whether there is a cluster that does not run, and could be started."""
    try:
        config = configuration.load(name)
    except UsageError:
        return False
    return config.stopped or not is_running(config)


def _adopt(config: ClusterConfig) -> int:
    """See to it that a cluster that runs has a supervisor."""
    return launch.ensure_supervisor(config) or role.holder(config.paths, role.SUPERVISOR)


def _restore(config: ClusterConfig, progress: Progress) -> int:
    """Make everything again that is not durable; return the supervisor's pid."""
    attach.detach(config.paths)
    config.check(_host_routes())
    _check_port(config)
    attach.check(config)
    cleanup.halt(config.name)
    try:
        with launch.making(config, again=True):
            progress("starting processes")
            supervisor_pid = launch.spawn(config)
            progress("wiring nodes")
            underlay.ensure(config)
            attach.ensure(config)
            keys.ensure(config)
    except BaseException:
        replace(config, stopped=True).save()
        cleanup.halt(config.name)
        raise
    return supervisor_pid


def _check_port(config: ClusterConfig) -> None:
    """Raise UsageError if the API server's port, which kubeconfigs name, is somebody else's by now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", config.api_port))
        except OSError as error:
            raise UsageError(
                f"cannot start cluster {config.name}: its API server's port 127.0.0.1:{config.api_port}: "
                f"{(error.strerror or '').lower()}"
            ) from error


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
    if is_stopped(name):
        raise UsageError(
            f"cluster {name} is stopped: start it again with netpod start, or remove it with netpod down"
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
