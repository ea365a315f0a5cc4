"""The cluster as scheduling sees it: what the watch showed, and what was decided since.

A decided pod counts on its node at once ("assumed"); the watch later confirms it, or a failed binding forgets it.

Source: kubernetes pkg/scheduler/backend/cache/cache.go.
"""

from collections.abc import Mapping

from netpod.api.meta import Key
from netpod.api.node import Node
from netpod.scheduler.likeness import Likeness
from netpod.scheduler.model import NodeInfo, PodInfo
from netpod.scheduler.volumes import Storage


class Cache:
    """Nodes by name and the pods on them."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.repelling: dict[Key, tuple[PodInfo, str]] = {}
        """Pods with required anti-affinity and their node, by key: the only ones asked about newcomers."""
        self.inclined: dict[Key, tuple[PodInfo, str]] = {}
        """Pods that have wishes about newcomers, and their node, by key."""
        self.volumes = Storage()
        self.likeness = Likeness()
        self.nominated: dict[Key, tuple[PodInfo, str]] = {}
        """Pods for which others were evicted, and the node they are to have."""
        self._where: dict[Key, str] = {}
        self._assumed: dict[Key, str] = {}

    def set_node(self, name: str, node: Node | None) -> None:
        """Take a node as the watch shows it; None when it is gone."""
        info = self.nodes.get(name)
        if info is None:
            if node is None:
                return
            info = self.nodes[name] = NodeInfo(name)
        info.set_node(node)
        if node is None and not info.pods:
            del self.nodes[name]

    def set_pod(self, info: PodInfo, node: str) -> None:
        """Count a pod on its node, as the watch shows it; confirms an assumption or corrects it."""
        self.remove_pod(info.key)
        self._put(info, node)

    def assume(self, info: PodInfo, node: str) -> None:
        """Count a pod on the node just chosen for it."""
        self._put(info, node)
        self._assumed[info.key] = info.pod.metadata.uid

    def forget(self, key: Key) -> None:
        """Take an assumption back; what the watch has confirmed stays."""
        if key in self._assumed:
            self.remove_pod(key)

    def is_assumed(self, key: Key, uid: str) -> bool:
        """Tell whether this very pod was given a node that the watch has not shown yet."""
        return self._assumed.get(key) == uid

    def remove_pod(self, key: Key) -> None:
        """Stop counting a pod, if it was counted."""
        self._assumed.pop(key, None)
        self.repelling.pop(key, None)
        self.inclined.pop(key, None)
        node = self._where.pop(key, None)
        if node is None:
            return
        home = self.nodes[node]
        home.remove(home.pods[key])
        if home.node is None and not home.pods:
            del self.nodes[node]

    def _put(self, info: PodInfo, node: str) -> None:
        self.nominated.pop(info.key, None)
        home = self.nodes.get(node)
        if home is None:
            home = self.nodes[node] = NodeInfo(node)
        home.add(info)
        self._where[info.key] = node
        if info.far:
            self.repelling[info.key] = (info, node)
        if info.near or info.near_wishes or info.far_wishes:
            self.inclined[info.key] = (info, node)

    def sizes(self) -> dict[str, int]:
        """How many nodes, pods and assumed pods there are."""
        nodes = sum(info.node is not None for info in self.nodes.values())
        return {"nodes": nodes, "pods": len(self._where), "assumed_pods": len(self._assumed)}

    def guests(self, pod: PodInfo) -> dict[str, list[PodInfo]]:
        """Return, by node, the nominated pods that a pod must leave room for: those of its priority or a higher one."""
        found: dict[str, list[PodInfo]] = {}
        for key, (other, node) in self.nominated.items():
            if key != pod.key and other.priority >= pod.priority and key not in self._where:
                found.setdefault(node, []).append(other)
        return found

    def candidates(self) -> list[NodeInfo]:
        """Return the nodes that exist, by name."""
        known = [info for info in self.nodes.values() if info.node is not None]
        return sorted(known, key=lambda info: info.name)
