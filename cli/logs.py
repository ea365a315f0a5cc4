"""netpod logs."""

from typing import Any

import click

from netpod.errors import BadRequest, NotFound, UsageError
from netpod_cli import context


@click.command("logs", help="Print a container's log: POD, pod/NAME, deploy/NAME or -l a=b.")
@click.argument("pod", required=False, default="")
@click.option("-c", "--container", default="", help="Which container of the pod.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("-p", "--previous", is_flag=True, help="The run before the last restart.")
@click.option("--tail", type=int, default=-1, help="Only the last lines.")
@click.option("--timestamps", is_flag=True, help="With the time of each line.")
@click.option("-l", "--selector", default="", help="All pods with these labels.")
@context.namespace_options
def logs_command(
    pod: str,
    container: str,
    follow: bool,
    previous: bool,
    tail: int,
    timestamps: bool,
    selector: str,
    namespace: str,
) -> None:
    """Print a container's log."""
    from netpod.cluster import podlogs

    if bool(pod) == bool(selector):
        raise UsageError("name one pod, or give a selector with -l")
    api = context.api()
    if selector:
        path = context.targets(["pods"])[0].path(namespace)
        pods = api.request("GET", path, query={"labelSelector": selector})["items"]
    else:
        pods = [pod_of(api, pod, namespace)]
    if follow and len(pods) > 1:
        raise UsageError(f"cannot follow {len(pods)} pods at once; name one")
    for item in pods:
        meta = item["metadata"]
        lines = podlogs.read(
            context.paths(),
            meta["namespace"],
            meta["name"],
            meta["uid"],
            container_of(item, container),
            previous=previous,
            follow=follow,
            tail=tail,
        )
        try:
            for line in lines:
                click.echo(f"{line.time} {line.text}" if timestamps else line.text)
        except KeyboardInterrupt:
            return


def pod_of(api: Any, word: str, namespace: str) -> dict[str, Any]:
    """Return the pod that `NAME`, `pod/NAME` or a workload's `deploy/NAME` means."""
    target = context.targets([word if "/" in word else f"pod/{word}"])[0]
    obj: dict[str, Any] = api.request("GET", target.path(namespace))
    if target.resource.kind == "Pod":
        return obj
    selector = obj.get("spec", {}).get("selector") or {}
    labels = selector.get("matchLabels", selector)
    query = {"labelSelector": ",".join(f"{k}={v}" for k, v in labels.items())}
    pods = api.request("GET", context.targets(["pods"])[0].path(namespace), query=query)["items"]
    running = [p for p in pods if not p["metadata"].get("deletionTimestamp")] or pods
    if not labels or not running:
        raise NotFound(f"cannot find a pod of {target.qualified}")
    pod: dict[str, Any] = min(
        running, key=lambda p: (p["status"].get("phase") != "Running", p["metadata"]["name"])
    )
    return pod


def container_of(pod: dict[str, Any], name: str) -> str:
    """Return the container meant: the one named, else the pod's first.

    Raises:
        BadRequest: the pod has no such container.
    """
    names = [c["name"] for c in pod["spec"]["containers"]]
    if name and name not in names:
        raise BadRequest(
            f"container {name} is not valid for pod {pod['metadata']['name']}; it has {', '.join(names)}"
        )
    return name or str(names[0])
