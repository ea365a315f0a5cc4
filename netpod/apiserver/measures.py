"""What nodes say they use: the metrics API, the nodes' Summaries, and the last quarter of an hour. In memory only.

    PUT  /apis/stats.netpod.dev/v1/nodestats/NODE            a kubelet tells its Summary
    GET  /apis/stats.netpod.dev/v1/nodestats[/NODE]          the last one of each node
    GET  /apis/stats.netpod.dev/v1/nodestats/NODE/history    the last 15 minutes of a node and its pods
    GET  /apis/metrics.k8s.io/v1beta1/nodes[/NODE]           NodeMetrics
    GET  /apis/metrics.k8s.io/v1beta1/[namespaces/NS/]pods[/POD]   PodMetrics; labels are the pods'

What a node has not told for a minute is forgotten, so that nobody scales by it.

Source: k8s.io/metrics pkg/apis/metrics/v1beta1/types.go; metrics-server pkg/api.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field

import orjson

from netpod import errors
from netpod.api import meta, registry
from netpod.api.meta import Json
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.apiserver import negotiation, objects, reading, selection
from netpod.apiserver.calls import Call, Reply
from netpod.apiserver.history import History
from netpod.apiserver.storage import Storage
from netpod.store.store import KeyValue

WINDOW = "15s"
STALE_SECONDS = 60.0
_NODES, _PODS = registry.of(Node), registry.of(Pod)


@dataclass(slots=True)
class _Told:
    """What one node said last."""

    at: float
    timestamp: str
    summary: Mapping[str, Json]
    pods: Mapping[str, Mapping[str, Json]]
    history: History = field(default_factory=History)


class Measures:
    """Takes and serves what is measured.

    Args:
        storage: Where the nodes and pods are that it is about.
        clock: Seconds that only grow.
    """

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._clock = clock
        self._nodes: dict[str, _Told] = {}

    async def answer(self, call: Call) -> Reply:
        """Answer a request for one of registry.MEASURES.

        Raises:
            NotFound: nothing was told of it, or not lately.
            BadRequest: a Summary that is none.
            NotAcceptable: the client wants a form that is not served.
        """
        route = call.route
        if route.verb == "update":
            return await self._take(call)
        if route.subresource == "history":
            return _reply({"node": route.name, **self._of(route.name).history.shown()})
        negotiation.wanted(call.accept)
        if route.resource is registry.POD_METRICS:
            found = [item async for item in self._pod_metrics(call)]
        elif route.resource is registry.NODE_METRICS:
            found = [item async for item in self._node_metrics(call)]
        else:
            found = list(self._summaries(route.name))
        if route.verb == "get" and not found:
            raise _absent(route.resource, route.name)
        return reading.computed(call, found, self._storage.revision, meta.now())

    async def _take(self, call: Call) -> Reply:
        """Keep a node's Summary; it is about a node that exists."""
        name = call.route.name
        data = negotiation.body(call.body, call.content_type)
        node, pods = data.get("node"), data.get("pods")
        if not isinstance(node, dict) or not isinstance(pods, list):
            raise errors.BadRequest("a NodeStats needs node (an object) and pods (a list)")
        await self._storage.get(_NODES, "", name)
        try:
            by_uid = {str(pod["podRef"]["uid"]): pod for pod in pods}
            known = self._nodes.get(name)
            told = _Told(self._clock(), meta.timestamp(meta.now()), data, by_uid)
            if known is not None:
                told.history = known.history
            told.history.add(meta.now().timestamp(), node, by_uid)
        except (KeyError, TypeError, ValueError) as error:
            raise errors.BadRequest(f"a NodeStats is not a Summary: {error!r}") from error
        self._nodes[name] = told
        return _reply({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})

    def _lately(self) -> Iterator[tuple[str, _Told]]:
        for name, told in sorted(self._nodes.items()):
            if self._clock() - told.at <= STALE_SECONDS:
                yield name, told

    def _of(self, name: str) -> _Told:
        told = self._nodes.get(name)
        if told is None:
            raise _absent(registry.NODE_STATS, name)
        return told

    def _summaries(self, name: str) -> Iterator[dict[str, Json]]:
        for node, told in self._lately():
            if name in ("", node):
                yield {
                    "metadata": {"name": node},
                    "timestamp": told.timestamp,
                    "node": told.summary["node"],
                    "pods": told.summary["pods"],
                }

    async def _selected(self, call: Call, of: registry.Resource) -> list[KeyValue]:
        """The stored objects that a request for their metrics is about."""
        route = call.route
        if route.name:
            return [await self._storage.get(of, route.namespace, route.name)]
        chosen = selection.of_call(call)
        page = await self._storage.list(of, route.namespace)
        return [kv for kv in page.items if chosen.matches(kv)]

    async def _node_metrics(self, call: Call) -> AsyncIterator[dict[str, Json]]:
        for kv in await self._selected(call, _NODES):
            metadata = objects.parsed(kv)["metadata"]
            told = self._nodes.get(metadata["name"])
            if told is None or self._clock() - told.at > STALE_SECONDS:
                continue
            yield {
                "metadata": _named(metadata, told),
                "timestamp": told.timestamp,
                "window": WINDOW,
                "usage": _usage(told.summary["node"]),
            }

    async def _pod_metrics(self, call: Call) -> AsyncIterator[dict[str, Json]]:
        lately = dict(self._lately())
        for kv in await self._selected(call, _PODS):
            pod = objects.parsed(kv)
            told = lately.get(pod["spec"].get("nodeName", ""))
            seen = told.pods.get(pod["metadata"].get("uid", "")) if told is not None else None
            if told is None or seen is None or not seen["containers"]:
                continue
            if not all("usageNanoCores" in item["cpu"] for item in seen["containers"]):
                continue  # a pod counts when all its containers were sampled
            yield {
                "metadata": _named(pod["metadata"], told),
                "timestamp": told.timestamp,
                "window": WINDOW,
                "containers": [
                    {"name": item["name"], "usage": _usage(item)} for item in seen["containers"]
                ],
            }


def _named(metadata: Mapping[str, Json], told: _Told) -> dict[str, Json]:
    kept = {name: metadata[name] for name in ("name", "namespace", "labels") if name in metadata}
    return {**kept, "creationTimestamp": told.timestamp}


def _usage(part: Mapping[str, Json]) -> dict[str, str]:
    """CPU and memory as quantities, in the units in which metrics-server writes them."""
    cpu, memory = part["cpu"].get("usageNanoCores", 0), part["memory"]["workingSetBytes"]
    return {"cpu": f"{cpu}n" if cpu else "0", "memory": f"{memory // 1024}Ki"}


def _absent(resource: registry.Resource, name: str) -> errors.NotFound:
    return errors.NotFound(f'{resource.qualified} "{name}" not found')


def _reply(data: Mapping[str, Json]) -> Reply:
    return Reply(body=orjson.dumps(data))
