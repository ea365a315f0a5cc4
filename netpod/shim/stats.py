"""What the containers of a shim use: from their cgroups where they have some, else from their processes.

A built-in container is forked from this process and shares most pages with it and with its siblings. Its memory is
therefore its proportional set size, so that the containers of a node add up to what they really cost. Asking the kernel
for that is 20 times dearer than all the rest, so it is asked again only when the resident size moved, or after a while.

Source: kubernetes pkg/kubelet/stats/cri_stats_provider.go; cAdvisor's workingset = usage - inactive_file.
"""

import os
import time
from dataclasses import dataclass

from netpod.api.cri import Container, ContainerStats, State
from netpod.linux import usage
from netpod.shim import cgroups
from netpod.shim.table import Table

STALE_SECONDS = 300.0
_NOISE = 256 << 10
"""Bytes by which a resident size may move before its share is asked for again."""


@dataclass(slots=True)
class _Share:
    resident: int
    bytes: int
    at: float


class Stats:
    """Reads what is used; remembers shares of memory between two readings.

    Args:
        cluster: Its name, part of the cgroups' paths.
        table: What runs.
    """

    def __init__(self, cluster: str, table: Table) -> None:
        self._cluster = cluster
        self._table = table
        self._shares: dict[int, _Share] = {}

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
            memory = self._share(own, process.resident)
            told.append(
                ContainerStats(
                    cpu=process.cpu, memory=memory, resident=process.resident, processes=1
                )
            )
        self._shares = {pid: share for pid, share in self._shares.items() if pid in seen}
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
                    memory += self._share(pid, process.resident)
        return ContainerStats(
            id=container.config.id,
            cpu=(cgroups.cpu(group, container.config.id) if limited else None) or cpu,
            memory=memory if charged is None else charged,
            resident=resident,
            processes=processes,
        )

    def _share(self, pid: int, resident: int) -> int:
        now = time.monotonic()
        known = self._shares.get(pid)
        if (
            known is None
            or abs(known.resident - resident) > _NOISE
            or now - known.at > STALE_SECONDS
        ):
            known = _Share(resident, usage.observe_share(pid), now)
            self._shares[pid] = known
        return known.bytes
