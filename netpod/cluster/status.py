"""What of a cluster runs, how much memory it takes, and where it answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netpod.client.blocking import BlockingClient
from netpod.cluster import cleanup, launch, publish, role, without
from netpod.cluster import config as configuration
from netpod.cluster.config import ClusterConfig
from netpod.cluster.publish import Published
from netpod.cluster.role import Role
from netpod.errors import ApiError
from netpod.linux import nft
from netpod.policy import unenforced
from netpod.proxy.config import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One role's process; `pid` 0 when it is down, `pss` in bytes."""

    role: Role
    pid: int
    pss: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One look at a cluster. `total_pss` counts every process, also the pods'."""

    config: ClusterConfig
    processes: tuple[Process, ...]
    total_pss: int
    api_ready: bool
    nodes_ready: int
    load_balancer: str
    published: tuple[Published, ...] = ()
    policies_enforced: bool = True

    @property
    def healthy(self) -> bool:
        """Whether all processes run, the API server answers and all nodes are Ready."""
        up = all(process.pid for process in self.processes)
        return up and self.api_ready and self.nodes_ready == len(self.config.running)

    @property
    def stopped(self) -> bool:
        """Whether nothing of the cluster runs, so that it can be started."""
        return self.config.stopped or not any(process.pid for process in self.processes)

    @property
    def nodes_off(self) -> tuple[str, ...]:
        """The nodes that were stopped."""
        return tuple(it.name for it in self.config.nodes if it not in self.config.running)

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield (role, state, pid, memory) for people."""
        for item in self.processes:
            state = "running" if item.pid else "down"
            yield str(item.role), state, str(item.pid or "-"), megabytes(item.pss)

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield (name, value) of what is not a process."""
        yield "pod network", f"{self.config.pod_network}, MTU {self.config.mtu}"
        yield "API server", "ready" if self.api_ready else "does not answer"
        yield (
            "nodes ready",
            f"{self.nodes_ready} of {len(self.config.running)}" if self.api_ready else "unknown",
        )
        if off := self.nodes_off:
            yield "nodes off", ", ".join(off)
        for component in without.parse(self.config.without):
            yield "left out", f"{component}, {without.kubeconfig(self.config.paths, component)}"
        if not self.policies_enforced:
            yield "network policies", f"not enforced: {unenforced.WHY}"
        yield "ingress address", self.load_balancer or ("none yet" if self.api_ready else "unknown")
        for each in self.published:
            yield "published", each.said
        yield "memory of all processes (PSS)", megabytes(self.total_pss)
        yield "kubeconfig", str(self.config.paths.kubeconfig)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values; memory in bytes."""
        return {
            "cluster": self.config.name,
            "healthy": self.healthy,
            "stopped": self.stopped,
            "processes": [
                {"role": str(item.role), "pid": item.pid, "pssBytes": item.pss}
                for item in self.processes
            ],
            "totalPssBytes": self.total_pss,
            "podNetwork": self.config.pod_network,
            "mtu": self.config.mtu,
            "apiReady": self.api_ready,
            "nodesReady": self.nodes_ready,
            "nodesOff": list(self.nodes_off),
            "without": list(without.parse(self.config.without)),
            "policiesEnforced": self.policies_enforced,
            "ingressAddress": self.load_balancer,
            "published": [
                {"listen": f"{publish.ADDRESS}:{p.listen}", "target": p.target, "error": p.error}
                for p in self.published
            ],
            "kubeconfig": str(self.config.paths.kubeconfig),
        }


def report(name: str) -> Report:
    """Look at a cluster; one that runs without a supervisor, since all its guards died with it, gets one.

    Raises:
        UsageError: there is no such cluster.
    """
    config = configuration.load(name)
    if any(role.holder(config.paths, item) for item in role.roles(config)):
        launch.ensure_supervisor(config)
    found = []
    for item in (role.SUPERVISOR, *role.roles(config)):
        pid = role.holder(config.paths, item)
        found.append(Process(role=item, pid=pid, pss=pss(pid) if pid else 0))
    client = BlockingClient(config.paths.api_socket, timeout=5)
    ready = nodes = 0
    address = ""
    try:
        client.raw("GET", "/readyz")
        ready = 1
        # One that was stopped is called Ready until the grace is over.
        wanted = {it.name for it in config.running}
        listed = client.request("GET", "/api/v1/nodes")["items"]
        nodes = sum(_is_ready(it) for it in listed if it["metadata"]["name"] in wanted)
        service = client.request("GET", "/api/v1/namespaces/kube-system/services/ingress")
        ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
        address = ingress[0].get("ip", "")
    except ApiError:
        pass
    finally:
        client.close()
    return Report(
        config=config,
        processes=tuple(found),
        total_pss=sum(map(pss, cleanup.processes(name, cleanup.namespaces(name)))),
        api_ready=bool(ready),
        nodes_ready=nodes,
        load_balancer=address,
        policies_enforced=config.variant is Variant.NFT or nft.supported("", config.families),
        published=publish.load(config.paths),
    )


def pss(pid: int) -> int:
    """Return a process' proportional set size in bytes; 0 when it is gone. Source: proc_pid_smaps(5)."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0


def megabytes(count: int) -> str:
    """Write a number of bytes as whole and tenth megabytes."""
    return f"{count / 1e6:.1f} MB" if count else "-"


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
