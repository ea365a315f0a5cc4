"""Trace a request on a running cluster: its objects from the API server, the rest from the kernel."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from netpod.client.blocking import BlockingClient
from netpod.paths import Paths
from netpod.trace import archive, awaitable, run, session
from netpod.trace.model import Trace
from netpod.trace.objects import ClusterObjects
from netpod.trace.run import Question
from netpod.trace.session import Followed

if TYPE_CHECKING:
    from netpod.trace import explain as prediction


def trace_url(paths: Paths, api: BlockingClient, url: str, *, timeout: float) -> Trace:
    """Send `GET url` from the client outside the cluster and follow it; see trace.run.trace_url."""
    return run.trace_url(paths, url, objects(api), timeout=timeout)


def follow(
    paths: Paths, api: BlockingClient, question: Question, *, timing: bool = False
) -> Followed:
    """Send what was asked for, follow it, and keep the trace for the dashboard; see trace.run.follow."""
    followed = run.follow(paths, question, objects(api), timing=timing)
    archive.keep(paths, followed)
    return followed


def live_traces(
    paths: Paths,
    api: BlockingClient,
    only: str,
    namespace: str,
    *,
    count: int,
    dropped: bool,
    limit: float,
) -> Iterator[Trace]:
    """Follow connections that others make; see trace.live.follow."""
    from netpod.trace import live

    return live.follow(
        paths, objects(api), only, namespace, count=count, dropped=dropped, limit=limit
    )


def sweep(paths: Paths) -> bool:
    """Put back what a killed trace of a cluster left; see trace.session.sweep."""
    return session.sweep(paths.trace_lock)


def explain(
    paths: Paths, api: BlockingClient, question: Question, known: ClusterObjects
) -> "prediction.Prediction":
    """Predict what would become of a request; see trace.explain.explain."""
    from netpod.trace import explain as prediction

    gateways = awaitable.observe_gateways(api, known)
    return prediction.explain(paths, question, known, gateways=gateways)


def objects(api: BlockingClient) -> ClusterObjects:
    """List what a trace reads meaning from."""
    return awaitable.observe_objects(api)
