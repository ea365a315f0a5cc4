"""What the containers of a shim use: from their cgroups where they have some, else from their processes.

A built-in container is forked from this process and shares most pages with it and with its siblings. Its memory is
therefore its proportional set size, so that the containers of a node add up to what they really cost.

Source: kubernetes pkg/kubelet/stats/cri_stats_provider.go; cAdvisor's workingset = usage - inactive_file.
"""

import os

from netpod.api.cri import Container, ContainerStats, State
from netpod.linux import usage
from netpod.shim import cgroups
from netpod.shim.table import Table


class Stats:
    """Reads what is used; remembers shares of memory between two readings.

    Args:
        cluster: Its name, part of the cgroups' paths.
        table: What runs.
    """

    def __init__(self, cluster: str, table: Table) -> None:
        self._cluster = cluster
        self._table = table
        self._shares = usage.Shares()

    def read(self) -> list[ContainerStats]:
        """Usage of the containers that run, and of this process."""
        seen: set[int] = set()
        told = [
            self._container(container, sandbox.config.uid, seen)
            for container in self._table.containers.values()
            if container.state == State.RUNNING
            and container.pid
            and (sandbox := self._table.sandboxes.get(container.config.sandbox_id)) is not None
        ]
        own = os.getpid()
        process = usage.observe_process(own)
        if process is not None:
            seen.add(own)
            memory = self._shares.of(own, process.resident)
            told.append(
                ContainerStats(
                    cpu=process.cpu, memory=memory, resident=process.resident, processes=1
                )
            )
        self._shares.keep(seen)
        return told

    def _container(self, container: Container, uid: str, seen: set[int]) -> ContainerStats:
        cpu = memory = resident = processes = 0
        limited = container.config.resources
        group = f"{self._cluster}/{uid}"
        charged = cgroups.memory(group, container.config.id) if limited else None
        first = usage.observe_process(container.pid)
        if first is not None:
            others = usage.descendants(container.pid, first.threads)
            all_pids = [container.pid, *others]
            for pid in all_pids:
                process = first if pid == container.pid else usage.observe_process(pid)
                if process is None:
                    continue
                processes += 1
                cpu += process.cpu
                resident += process.resident
                if charged is None:
                    seen.add(pid)
                    memory += self._shares.of(pid, process.resident)
        return ContainerStats(
            id=container.config.id,
            cpu=(cgroups.cpu(group, container.config.id) if limited else None) or cpu,
            memory=memory if charged is None else charged,
            resident=resident,
            processes=processes,
        )
