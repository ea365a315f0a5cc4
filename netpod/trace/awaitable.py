"""Traces of a running cluster for programs: one awaitable call, typed answers."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from netpod.api import codec, registry
from netpod.api.discovery import EndpointSlice
from netpod.api.meta import Object
from netpod.api.networking import Ingress, IngressClass
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.service import Service
from netpod.client.blocking import BlockingClient
from netpod.errors import NetpodError
from netpod.ip import Family
from netpod.paths import Paths
from netpod.trace import run, where
from netpod.trace.model import Trace
from netpod.trace.objects import ClusterObjects, gateway_of
from netpod.trace.request import Kind
from netpod.trace.run import Question
from netpod.trace.world import observe_world

if TYPE_CHECKING:
    from netpod.api.gateway import HTTPRoute
    from netpod.ingress.gateway import plan
    from netpod.trace import explain

T = TypeVar("T", bound=Object)


def observe_objects(api: BlockingClient) -> ClusterObjects:
    """List what a trace reads meaning from."""
    services = _list(api, Service)
    return ClusterObjects(
        nodes=_list(api, Node),
        pods=_list(api, Pod),
        services=services,
        endpoint_slices=_list(api, EndpointSlice),
        ingresses=_list(api, Ingress),
        ingress_classes=_list(api, IngressClass),
        http_routes=_routes(api) if any(map(gateway_of, services)) else (),
    )


def observe_gateways(api: BlockingClient, objects: ClusterObjects) -> "plan.World | None":
    """List what the ingress controller makes Gateways of; None where there are none."""
    if not objects.gateway_services():
        return None
    from netpod.api.core import Namespace, Secret
    from netpod.api.gateway import Gateway, GatewayClass, ReferenceGrant
    from netpod.ingress.gateway import plan

    return plan.World(
        classes=_list(api, GatewayClass),
        gateways=_list(api, Gateway),
        routes=objects.http_routes,
        grants=_list(api, ReferenceGrant),
        namespaces=_list(api, Namespace),
        secrets=_list(api, Secret),
        services=objects.services,
        slices=objects.endpoint_slices,
        now=datetime.now(UTC),
    )


def _routes(api: BlockingClient) -> "tuple[HTTPRoute, ...]":
    from netpod.api.gateway import HTTPRoute

    return _list(api, HTTPRoute)


async def trace_request(
    target: str,
    *,
    source: str = "outside",
    namespace: str = "default",
    kind: Kind = Kind.HTTP,
    query: str = "",
    host: str = "",
    size: int = 0,
    ttl: int = 0,
    nth: int = 1,
    timeout: float = 5.0,
    family: Family | None = None,
    cluster: str = "netpod",
) -> Trace:
    """Send a request on a running cluster and follow it.

    Args:
        target: URL, svc/NAME[:PORT], pod/NAME[:PORT], node/NAME:PORT or ADDRESS:PORT.
        source: outside, node/NAME or pod/NAME.
        namespace: Of pods and Services named without one.
        kind: What is sent; a URL says it itself.
        query: Name that a DNS query asks for.
        host: Host header and TLS name in place of the target's.
        size: Payload bytes of a datagram or an echo, 0 for a short one.
        ttl: Hops the packets may take, 0 for the kernel's default.
        nth: Which HTTP request on one connection is followed.
        timeout: Seconds of silence after which the client gives up.
        family: Of the target's address; None is the first that it has.
        cluster: Which cluster.

    Returns:
        The trace, whatever became of the request.

    Raises:
        UsageError: source or target cannot be read.
        NotFound: they name something that is not there.
        NetpodError: the cluster is not up.
    """
    question = run.Question(
        target=target,
        source=source,
        namespace=namespace,
        kind=kind,
        query=query,
        host=host,
        size=size,
        ttl=ttl,
        nth=nth,
        timeout=timeout,
        family=family,
    )

    def work() -> Trace:
        paths = Paths(cluster)
        return run.trace(paths, question, _objects(paths))

    return await asyncio.to_thread(work)


async def trace_all(questions: Sequence[Question], *, cluster: str = "netpod") -> list[Trace]:
    """Send many requests at once and follow each: who reaches whom.

    What the ingress proxy does with a request is not followed; use `trace_request` for that.

    Args:
        questions: What to send, from where, to where; at most 1,000.
        cluster: Which cluster.

    Returns:
        One trace per question, in their order.

    Raises:
        UsageError: a source or target cannot be read.
        NotFound: it names something that is not there.
        NetpodError: the cluster is not up.
    """

    def work() -> list[Trace]:
        paths = Paths(cluster)
        objects = _objects(paths)
        requests = []
        for question in questions:
            place = where.resolve(paths, objects, question.source, question.namespace)
            requests.append(run.request_of(question, objects, place))
        world = observe_world(paths, objects, targets=objects.pods)
        if world.client not in world.places:
            raise NetpodError(f"cannot trace: cluster {cluster} is not up")
        from netpod.trace import batch

        return batch.follow_all(requests, world)

    return await asyncio.to_thread(work)


async def explain_request(
    target: str,
    *,
    source: str = "outside",
    namespace: str = "default",
    kind: Kind = Kind.HTTP,
    family: Family | None = None,
    cluster: str = "netpod",
) -> "explain.Prediction":
    """Predict what would become of a request; arguments and errors as of `trace_request`."""
    question = run.Question(
        target=target, source=source, namespace=namespace, kind=kind, family=family
    )

    def work() -> "explain.Prediction":
        from netpod.trace import explain

        paths = Paths(cluster)
        with closing(BlockingClient(paths.api_socket)) as api:
            objects = observe_objects(api)
            gateways = observe_gateways(api, objects)
        return explain.explain(paths, question, objects, gateways=gateways)

    return await asyncio.to_thread(work)


def _objects(paths: Paths) -> ClusterObjects:
    with closing(BlockingClient(paths.api_socket)) as api:
        return observe_objects(api)


def _list(api: BlockingClient, cls: type[T]) -> tuple[T, ...]:
    items = api.request("GET", registry.of(cls).path())["items"]
    return tuple(codec.decode(cls, item) for item in items)
