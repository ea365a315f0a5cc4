"""Add, delete, stop and start nodes of a cluster that runs.

The configuration says which nodes there shall be; the supervisor reads it again when it changes and starts or ends
their processes. Here it is changed, and what the supervisor does not do is done: power cut, objects and disk removed.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from netpod.client.blocking import BlockingClient
from netpod.cluster import config as configuration
from netpod.cluster import keys, launch, machine, ready
from netpod.cluster.config import ClusterConfig, NodeConfig
from netpod.cluster.machine import Machine, Power
from netpod.errors import ApiError, NetpodError, NotFound, UsageError

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_NODES = "/api/v1/nodes"


def add(name: str, node: str) -> NodeConfig:
    """Give a cluster one node more; the supervisor starts it.

    Args:
        name: Of the cluster.
        node: Of the new node; "" for the next worker.

    Raises:
        UsageError: no node can have that name, or there is no room for it. Nothing was changed.
    """

    def more(machines: tuple[Machine, ...]) -> tuple[Machine, ...]:
        return machine.added(machines, node, name)

    old, new = _change(name, more, prepare=True)
    return next(it for it in new.nodes if it not in old.nodes)


def start(name: str, node: str) -> bool:
    """Switch a node on; return whether it was off.

    Raises:
        NotFound: there is none of that name.
    """
    old, _ = _switch(name, node, Power.ON)
    return old.power is not Power.ON


def stop(name: str, node: str) -> None:
    """Cut a node's power; one that is off: nothing to do. Its Node object and its disk stay.

    Raises:
        NotFound: there is none of that name.
        UsageError: it carries the control plane.
    """
    from netpod.cluster import power

    _, found = _switch(name, node, Power.OFF)
    power.cut(configuration.load(name), found)


def delete(name: str, node: str, api: BlockingClient) -> None:
    """Remove a node: power, Node, Lease, pods, disk. It drains nothing. One cut short is ended by another.

    Raises:
        NotFound: there is none of that name.
        UsageError: it carries the control plane.
    """
    from netpod.cluster import power

    _, found = _switch(name, node, Power.LEAVING)
    config = configuration.load(name)
    power.cut(config, found)
    # First the Node, so that no DaemonSet replaces the pods that go with it.
    for path in (f"{_NODES}/{node}", f"{_LEASES}/{node}"):
        _delete(api, path)
    for pod in api.request("GET", "/api/v1/pods", query={"fieldSelector": f"spec.nodeName={node}"})[
        "items"
    ]:
        about = pod["metadata"]
        _delete(
            api,
            f"/api/v1/namespaces/{about['namespace']}/pods/{about['name']}",
            {"gracePeriodSeconds": 0, "preconditions": {"uid": about["uid"]}},
        )
    power.forget(config, found)

    def less(machines: tuple[Machine, ...]) -> tuple[Machine, ...]:
        return machine.without(machines, node)

    _change(name, less)


def wait_ready(api: BlockingClient, node: str, timeout: float, after: str = "") -> None:
    """Wait until a node is Ready and has sent a heartbeat after the one given.

    Raises:
        NetpodError: it did not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not (_is_ready(api, node) and heartbeat(api, node) not in ("", after)):
        if time.monotonic() > deadline:
            raise NetpodError(f"timed out waiting for node {node} to be Ready")
        ready.wait_a_little()


def heartbeat(api: BlockingClient, node: str) -> str:
    """When the node's Lease was renewed last; "" before it ever was."""
    try:
        lease = api.request("GET", f"{_LEASES}/{node}")
    except ApiError:
        return ""
    return str(lease["spec"].get("renewTime") or "")


def _is_ready(api: BlockingClient, node: str) -> bool:
    try:
        found = api.request("GET", f"{_NODES}/{node}").get("status", {}).get("conditions", ())
    except ApiError:
        return False
    return any(it["type"] == "Ready" and it["status"] == "True" for it in found)


def _delete(api: BlockingClient, path: str, options: dict[str, Any] | None = None) -> None:
    with contextlib.suppress(NotFound):
        api.request("DELETE", path, body=options)


def _switch(name: str, node: str, wanted: Power) -> tuple[NodeConfig, NodeConfig]:
    """Change what shall be of a node; return it before and after."""

    def switched(machines: tuple[Machine, ...]) -> tuple[Machine, ...]:
        return machine.with_power(machines, node, wanted)

    before, after = (
        next(it for it in config.nodes if it.name == node) for config in _change(name, switched)
    )
    return before, after


def _change(
    name: str,
    change: Callable[[tuple[Machine, ...]], tuple[Machine, ...]],
    *,
    prepare: bool = False,
) -> tuple[ClusterConfig, ClusterConfig]:
    """Change which machines a cluster has; return its configuration before and after."""
    with locked(name):
        old = configuration.load(name)
        if old.stopped:
            raise UsageError(
                f"cannot change nodes: cluster {name} is stopped; start it with netpod start"
            )
        machines = old.machines or machine.first(old.workers)
        new = replace(old, machines=change(machines))
        if new.machines == old.machines:
            return old, new
        if prepare:
            new.check_room()
            # Made by the long-lived process that needs them they would cost it 10 MB.
            for node in new.nodes:
                if node not in old.nodes:
                    keys.ensure_kubelet(new, node)
        new.save()
    launch.ensure_supervisor(new)
    return old, new


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One change of a cluster's configuration at a time. The lock dies with its holder."""
    folder = configuration.load(name).paths.state
    fd = os.open(folder / "config.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
