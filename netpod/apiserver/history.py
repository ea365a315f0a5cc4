"""The last quarter of an hour of a node and its pods: four numbers a sample, in a fixed number of bytes.

cpu      millicores
memory   KiB
rx, tx   bytes a second since the sample before; what a pod's eth0 received and sent, a node's eth0
"""

import math
from array import array
from collections.abc import Mapping
from typing import Any

SAMPLES = 60
"""At one in 15 seconds, 15 minutes."""
COLUMNS = ("cpu", "memory", "rx", "tx")
_MISSING = math.nan


class Series:
    """A ring of samples; 1.2 kB."""

    __slots__ = ("_last", "_values")

    def __init__(self) -> None:
        self._values = array("f", [_MISSING]) * (SAMPLES * len(COLUMNS))
        self._last: tuple[float, int, int] | None = None

    def put(self, slot: int, at: float, part: Mapping[str, Any]) -> None:
        """Write one sample; counters that went back, after a restart, count as no traffic."""
        network = part.get("network") or {}
        rx, tx = int(network.get("rxBytes", 0)), int(network.get("txBytes", 0))
        rates = (0.0, 0.0)
        if self._last is not None and at > self._last[0]:
            seconds = at - self._last[0]
            rates = (max(0, rx - self._last[1]) / seconds, max(0, tx - self._last[2]) / seconds)
        self._last = (at, rx, tx)
        cpu = part["cpu"].get("usageNanoCores", 0) / 1e6
        memory = part["memory"]["workingSetBytes"] / 1024
        start = slot * len(COLUMNS)
        self._values[start : start + len(COLUMNS)] = array("f", (cpu, memory, *rates))

    def shown(self, slots: list[int]) -> dict[str, list[float | None]]:
        """Columns in the order of the slots; None where there is no sample."""
        rows = [self._values[s * len(COLUMNS) : (s + 1) * len(COLUMNS)] for s in slots]
        return {
            name: [None if math.isnan(row[i]) else round(row[i], 1) for row in rows]
            for i, name in enumerate(COLUMNS)
        }


class History:
    """Of one node."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._next = 0
        self._node = Series()
        self._pods: dict[str, tuple[Mapping[str, str], Series]] = {}

    def add(
        self, at: float, node: Mapping[str, Any], pods: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Take a sample; pods that are gone are forgotten."""
        slot = self._next
        self._next = (slot + 1) % SAMPLES
        self._times[slot : slot + 1] = [at]
        self._node.put(slot, at, node)
        self._pods = {uid: kept for uid, kept in self._pods.items() if uid in pods}
        for uid, pod in pods.items():
            kept = self._pods.setdefault(uid, (pod["podRef"], Series()))
            kept[1].put(slot, at, pod)

    def shown(self) -> dict[str, Any]:
        """Times in seconds since 1970, oldest first, and the columns of node and pods."""
        count = len(self._times)
        first = self._next if count == SAMPLES else 0
        slots = [(first + i) % SAMPLES for i in range(count)]
        pods = [{**ref, **series.shown(slots)} for ref, series in self._pods.values()]
        return {
            "times": [round(self._times[slot], 3) for slot in slots],
            "usage": self._node.shown(slots),
            "pods": pods,
        }
