"""netpod logs."""

import re
import sys
from typing import Any

import click

from netpod.errors import BadRequest, NotFound, UsageError
from netpod_cli import context


@click.command(
    "logs", help="Print a container's log: POD, pod/NAME, deploy/NAME or -l a=b; or --all logs."
)
@click.argument("pod", required=False, default="")
@click.option("-c", "--container", default="", help="Which container of the pod.")
@click.option("--all-containers", is_flag=True, help="All containers of the pod.")
@click.option(
    "-f", "--follow", is_flag=True, help="Go on with what comes, until the container ends."
)
@click.option("-p", "--previous", is_flag=True, help="The run before the last restart.")
@click.option("--tail", type=int, default=-1, help="Only the last lines.")
@click.option(
    "--since", default="", metavar="DURATION", help="Only what is newer, e.g. 5s, 2m, 3h."
)
@click.option("--limit-bytes", type=int, default=0, help="End after so many bytes.")
@click.option("--timestamps", is_flag=True, help="With the time of each line.")
@click.option("-l", "--selector", default="", help="All pods with these labels.")
@click.option("--all", "everything", is_flag=True, help="Of all pods and components, by time.")
@click.option("--node", default="", help="With --all: of this node's pods and components.")
@click.option(
    "--component", default="", help="With --all: only of kubelet, proxy, apiserver, scheduler, ..."
)
@click.option("--grep", default="", metavar="RE", help="With --all: only lines that match.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="With --all: form."
)
@click.option(
    "--log-export",
    default="",
    metavar="URL",
    help="With --all: send to file:///PATH, syslog[+tcp]://HOST:PORT or otlp://HOST:PORT.",
)
@context.namespace_options
def logs_command(
    pod: str,
    container: str,
    all_containers: bool,
    follow: bool,
    previous: bool,
    tail: int,
    since: str,
    limit_bytes: int,
    timestamps: bool,
    selector: str,
    everything: bool,
    node: str,
    component: str,
    grep: str,
    output: str,
    log_export: str,
    namespace: str,
) -> None:
    """Print a container's log."""
    if everything:
        _show_all(
            pod,
            selector,
            node,
            component,
            since,
            grep,
            follow,
            timestamps,
            tail,
            output,
            log_export,
            namespace,
        )
        return
    if node or component or grep or log_export or output != "text":
        raise UsageError("--node, --component, --grep, --log-export and -o go with --all")
    if bool(pod) == bool(selector):
        raise UsageError("name one pod, or give a selector with -l")
    api = context.api()
    if selector:
        path = context.targets(["pods"])[0].path(namespace)
        pods = api.request("GET", path, query={"labelSelector": selector})["items"]
    else:
        pods = [pod_of(api, pod, namespace)]
    wanted = [
        (item, name)
        for item in pods
        for name in (_containers(item) if all_containers else [container_of(item, container)])
    ]
    if follow and len(wanted) > 1:
        raise UsageError(f"cannot follow {len(wanted)} logs at once; name one")
    query = {
        "follow": "true" if follow else "",
        "previous": "true" if previous else "",
        "timestamps": "true" if timestamps else "",
        "tailLines": str(tail) if tail >= 0 else "",
        "sinceSeconds": str(_seconds(since)) if since else "",
        "limitBytes": str(limit_bytes) if limit_bytes else "",
    }
    options = {name: value for name, value in query.items() if value}
    for item, name in wanted:
        path = context.targets([f"pod/{item['metadata']['name']}"])[0].path(namespace, "log")
        try:
            with api.stream(path, query={**options, "container": name}) as lines:
                for line in lines:
                    sys.stdout.buffer.write(line)
                    sys.stdout.buffer.flush()
        except KeyboardInterrupt:
            return


def _show_all(
    pod: str,
    selector: str,
    node: str,
    component: str,
    since: str,
    grep: str,
    follow: bool,
    timestamps: bool,
    tail: int,
    output: str,
    export: str,
    namespace: str,
) -> None:
    from netpod_cli import logs_all

    if pod:
        raise UsageError(
            "cannot use --all with the name of one: choose by -n, -l, --node or --grep"
        )
    source = click.get_current_context().get_parameter_source("namespace")
    chosen = source is not click.core.ParameterSource.DEFAULT
    logs_all.show(
        logs_all.Options(
            namespace=namespace if chosen else "",
            selector=selector,
            node=node,
            component=component,
            since=since,
            grep=grep,
            follow=follow,
            timestamps=timestamps,
            tail=tail,
            output=output,
            export=export,
        )
    )


def _seconds(text: str) -> int:
    """Read Go's durations, whole seconds at least: `90s`, `5m`, `1h30m`."""
    parts = re.findall(r"(\d+)([hms])", text)
    if not parts or "".join(a + b for a, b in parts) != text:
        raise UsageError(f"cannot read duration {text!r}: write e.g. 90s, 5m or 1h30m")
    return max(1, sum(int(a) * {"h": 3600, "m": 60, "s": 1}[b] for a, b in parts))


def _containers(pod: dict[str, Any]) -> list[str]:
    spec = pod["spec"]
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [str(container["name"]) for kind in kinds for container in spec.get(kind) or ()]


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
    names = _containers(pod)
    if name and name not in names:
        raise BadRequest(
            f"container {name} is not valid for pod {pod['metadata']['name']}; it has {', '.join(names)}"
        )
    return name or str(pod["spec"]["containers"][0]["name"])
