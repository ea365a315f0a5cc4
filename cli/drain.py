"""What `netpod node drain` does to the pods of cordoned nodes.

Source: kubectl pkg/drain/drain.go, pkg/cmd/drain/drain.go; the words are its.
"""

import time
from typing import Any

import click

from netpod.api import drain
from netpod.client.blocking import BlockingClient
from netpod.errors import ApiError, Conflict, NetpodError, NotFound
from netpod_cli import waiting

_RETRY_SECONDS = 5.0
_POLL_SECONDS = 0.2


def run(
    api: BlockingClient,
    nodes: list[str],
    *,
    dry: bool,
    timeout: str,
    pod_selector: str,
    force: bool,
    ignore_daemonsets: bool,
    delete_emptydir_data: bool,
    disable_eviction: bool,
    grace_period: int,
    skip_wait_for_delete_timeout: int,
    dry_run: str,
) -> int:
    """Evict the pods of nodes and wait until they are gone; return the exit code.

    Raises:
        NetpodError: pods are still there when the time is up.
    """
    options = drain.Options(
        force=force,
        ignore_daemonsets=ignore_daemonsets,
        delete_emptydir_data=delete_emptydir_data,
    )
    limit = waiting.seconds(timeout)
    deadline = time.monotonic() + limit if limit else float("inf")
    code = 0
    for node in nodes:
        plan = drain.plan(
            _pods(api, node, pod_selector), options, lambda ns, name: _daemon_set(api, ns, name)
        )
        if plan.errors:
            click.echo(
                f"error: unable to drain node {node!r} due to error: {plan.error()}", err=True
            )
            code = 1
            continue
        if plan.warnings:
            click.echo(f"Warning: {plan.warning()}", err=True)
        pods = [it for it in plan.pods if not _old(it, skip_wait_for_delete_timeout)]
        if not dry:
            _evict(api, pods, grace_period, disable_eviction, deadline)
        click.echo(f"node/{node} drained{' (dry run)' if dry else ''}")
    return code


def _pods(api: BlockingClient, node: str, selector: str) -> list[dict[str, Any]]:
    query = {"fieldSelector": f"spec.nodeName={node}"}
    if selector:
        query["labelSelector"] = selector
    return list(api.request("GET", "/api/v1/pods", query=query)["items"])


def _daemon_set(api: BlockingClient, namespace: str, name: str) -> bool:
    try:
        api.request("GET", f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}")
    except NotFound:
        return False
    return True


def _old(pod: drain.Json, seconds: int) -> bool:
    """Whether a pod is being deleted for longer than one wants to wait for."""
    from netpod.api import meta

    stamp = pod["metadata"].get("deletionTimestamp")
    if not seconds or not stamp:
        return False
    return (meta.now() - meta.parse_timestamp(stamp)).total_seconds() > seconds


def _evict(
    api: BlockingClient,
    pods: list[drain.Json],
    grace: int,
    delete: bool,
    deadline: float,
) -> None:
    """Ask for each pod until its disruption budget lets it go, then wait until all are gone."""
    asked: dict[str, float] = {}
    left = {_name(pod): pod for pod in pods}
    for name in left:
        click.echo(f"{'deleting' if delete else 'evicting'} pod {name}")
    while left:
        if time.monotonic() > deadline:
            raise NetpodError(
                f"error when waiting for pods to end: timed out; {', '.join(sorted(left))} still there"
            )
        for name, pod in list(left.items()):
            if asked.get(name, 0.0) <= time.monotonic():
                asked[name] = _ask(api, pod, grace, delete)
            if _gone(api, pod):
                del left[name]
                click.echo(f"pod/{pod['metadata']['name']} {'deleted' if delete else 'evicted'}")
        if left:
            waiting.rest(_POLL_SECONDS)


def _ask(api: BlockingClient, pod: drain.Json, grace: int, delete: bool) -> float:
    """Ask once for a pod's end; return when to ask again, monotonic seconds."""
    about = pod["metadata"]
    path = f"/api/v1/namespaces/{about['namespace']}/pods/{about['name']}"
    options: dict[str, Any] = {"preconditions": {"uid": about["uid"]}}
    if grace >= 0:
        options["gracePeriodSeconds"] = grace
    try:
        if delete:
            api.request("DELETE", path, body=options)
        else:
            body = {
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"name": about["name"], "namespace": about["namespace"]},
                "deleteOptions": options,
            }
            api.request("POST", f"{path}/eviction", body=body)
    except (NotFound, Conflict):
        pass  # gone, or another pod of that name by now
    except ApiError as error:
        if error.code != 429:
            raise
        click.echo(
            f'error when evicting pods/"{about["name"]}" -n "{about["namespace"]}" '
            f"(will retry after {_RETRY_SECONDS:g}s): {error}",
            err=True,
        )
        return time.monotonic() + _RETRY_SECONDS
    return float("inf")


def _gone(api: BlockingClient, pod: drain.Json) -> bool:
    about = pod["metadata"]
    try:
        found = api.request("GET", f"/api/v1/namespaces/{about['namespace']}/pods/{about['name']}")
    except NotFound:
        return True
    return bool(found["metadata"]["uid"] != about["uid"])


def _name(pod: drain.Json) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
