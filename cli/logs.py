"""netpod logs."""

import re
import sys
from typing import Any

import click

from netpod.errors import BadRequest, NetpodError, NotFound, UsageError
from netpod_cli import context

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
"""Annotation of a pod: which container is meant where none is named."""


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
@click.option(
    "--tail", type=click.IntRange(min=-1), default=-1, help="Only the last lines; -1: all."
)
@click.option(
    "--since", default="", metavar="DURATION", help="Only what is newer, e.g. 5s, 2m, 3h."
)
@click.option("--since-time", default="", metavar="TIME", help="Only what is newer, RFC 3339.")
@click.option("--prefix", is_flag=True, help="Each line with its pod and container.")
@click.option(
    "--max-log-requests",
    type=click.IntRange(min=1),
    default=5,
    help="How many logs may be followed at once.",
)
@click.option(
    "--limit-bytes", type=click.IntRange(min=0), default=0, help="End after so many bytes."
)
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
    since_time: str,
    prefix: bool,
    max_log_requests: int,
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
        # As kubectl: of several pods the last lines, unless somebody asks for more.
        tail = 10 if tail < 0 and not tail_given() else tail
    else:
        pods = [pod_of(api, pod, namespace)]
    wanted = [
        (item, name)
        for item in pods
        for name in (_containers(item) if all_containers else [container_of(item, container)])
    ]
    if follow and len(wanted) > max_log_requests:
        raise UsageError(
            f"you are attempting to follow {len(wanted)} log streams, but maximum allowed concurrency is "
            f"{max_log_requests}, use --max-log-requests to increase the limit"
        )
    query = {
        "follow": "true" if follow else "",
        "previous": "true" if previous else "",
        "timestamps": "true" if timestamps else "",
        "tailLines": str(tail) if tail >= 0 else "",
        "sinceSeconds": str(_seconds(since)) if since else "",
        "sinceTime": since_time,
        "limitBytes": str(limit_bytes) if limit_bytes else "",
    }
    options = {name: value for name, value in query.items() if value}
    try:
        if follow and len(wanted) > 1:
            _follow_all(api, wanted, namespace, options, prefix=prefix)
            return
        for item, name in wanted:
            show(api, item, name, namespace, options, prefix=prefix)
    except KeyboardInterrupt:
        return


def tail_given() -> bool:
    """Whether --tail stands on the command line."""
    source = click.get_current_context().get_parameter_source("tail")
    return source is not None and source.name == "COMMANDLINE"


def show(
    api: Any,
    pod: dict[str, Any],
    container: str,
    namespace: str,
    options: dict[str, str] | None = None,
    *,
    prefix: bool = False,
) -> None:
    """Write a container's log to standard output, each line at once."""
    pod_name = pod["metadata"]["name"]
    path = context.targets([f"pod/{pod_name}"])[0].path(namespace, "log")
    head = f"[pod/{pod_name}/{container}] ".encode() if prefix else b""
    with api.stream(path, query={**(options or {}), "container": container}) as lines:
        for line in lines:
            sys.stdout.buffer.write(head + line)
            sys.stdout.buffer.flush()


def _follow_all(
    api: Any,
    wanted: list[tuple[dict[str, Any], str]],
    namespace: str,
    options: dict[str, str],
    *,
    prefix: bool,
) -> None:
    """Follow several logs side by side; comes back when all have ended.

    Raises:
        NetpodError: what the first that failed said.
    """
    import threading

    failures: list[NetpodError] = []

    def follow(item: dict[str, Any], name: str) -> None:
        try:
            # A line is one write, so lines of several containers do not mix.
            show(api, item, name, namespace, options, prefix=prefix)
        except NetpodError as error:
            failures.append(error)

    threads = [threading.Thread(target=follow, args=pair, daemon=True) for pair in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


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
    chosen = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER, "")
    if not name and chosen in names:
        return str(chosen)
    return name or str(pod["spec"]["containers"][0]["name"])
