"""netpod top: what nodes, pods and links use."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from netpod.api import registry
from netpod.client.blocking import BlockingClient
from netpod.errors import ApiError, NotFound, UsageError
from netpod_cli import context, output

_SECONDS = 2.0
_KINDS = {
    **dict.fromkeys(("node", "nodes", "no"), "nodes"),
    **dict.fromkeys(("pod", "pods", "po"), "pods"),
    **dict.fromkeys(("link", "links"), "links"),
}
_COUNTERS = tuple(
    f"{way}{what}" for way in ("rx", "tx") for what in ("Bytes", "Packets", "Dropped", "Errors")
)
Rows = list[list[str]]


@click.command("top", help="Show what nodes, pods and links use: top, top pods -A, top links -w.")
@click.argument("kind", default="", metavar="[nodes|pods|links]")
@click.argument("name", default="")
@click.option("-A", "--all-namespaces", is_flag=True, help="Pods and links of all namespaces.")
@click.option("-l", "--selector", default="", help="Label selector for pods.")
@click.option("--containers", is_flag=True, help="A row for each container.")
@click.option(
    "--sort-by", type=click.Choice(["cpu", "memory"]), help="The largest first, not by name."
)
@click.option("--no-headers", is_flag=True, help="Rows only.")
@click.option("-w", "--watch", is_flag=True, help="Show it anew every 2 seconds until Ctrl-C.")
@context.namespace_options
def top_command(
    kind: str,
    name: str,
    all_namespaces: bool,
    selector: str,
    containers: bool,
    sort_by: str | None,
    no_headers: bool,
    watch: bool,
    namespace: str,
) -> None:
    """Show usage."""
    if kind and kind not in _KINDS:
        raise UsageError(f"cannot show {kind!r}: nodes, pods or links")
    from netpod.trace.formats import columns

    kind = _KINDS.get(kind, "")
    everywhere = all_namespaces or not kind
    api = context.api()

    def shown() -> str:
        parts: list[Rows] = []
        stats = _stats(api, live=watch)
        labelled = _selected(api, selector, "" if everywhere else namespace) if selector else None
        if kind in ("", "nodes"):
            parts.append(
                _with(
                    ["NAME", "CPU(cores)", "CPU%", "MEMORY(bytes)", "MEMORY%"],
                    _nodes(api, stats, name),
                    sort_by,
                )
            )
        pods = [
            pod
            for pod in _pods(stats)
            if (everywhere or pod["podRef"]["namespace"] == namespace)
            and (kind != "pods" or name in ("", pod["podRef"]["name"]))
            and (labelled is None or pod["podRef"]["uid"] in labelled)
        ]
        if kind in ("", "pods"):
            title = ["NAMESPACE"] if everywhere else []
            title += ["POD", "NAME"] if containers else ["NAME"]
            rows = _pod_rows(pods, everywhere, containers)
            parts.append(_with([*title, "CPU(cores)", "MEMORY(bytes)"], rows, sort_by))
        if kind == "links":
            title = ["NODE", "LINK", "POD", *map(_title, _COUNTERS)]
            parts.append(_with(title, _links(stats, pods, name), None))
        if name and not any(len(part) > 1 for part in parts):
            raise NotFound(f'{kind} "{name}" has no metrics')
        if no_headers:
            parts = [part[1:] for part in parts]
        fit = output.width()
        return "\n\n".join(columns.columns(part, fit, gap=3) for part in parts if part)

    if not watch:
        click.echo(shown())
        return
    try:
        while True:
            text = shown()
            if sys.stdout.isatty():
                click.echo("\x1b[H\x1b[2J", nl=False)
            click.echo(text + "\n")
            time.sleep(_SECONDS)  # noqa: TID251 - a person watches
    except KeyboardInterrupt:
        return


def _stats(api: BlockingClient, *, live: bool) -> list[dict[str, Any]]:
    """Summaries of the nodes: the last that each told, or, live, what each says when it is asked now."""
    if not live:
        found = api.request("GET", registry.NODE_STATS.path())["items"]
        if not found:
            raise NotFound("metrics not available yet: nodes tell theirs seconds after the start")
        return list(found)
    told = []
    nodes = registry.lookup("nodes")
    for node in api.request("GET", nodes.path())["items"]:
        try:
            path = nodes.path(name=node["metadata"]["name"], subresource="proxy")
            told.append(api.request("GET", f"{path}/stats/summary"))
        except ApiError:
            continue  # a node that is down uses nothing
    return told


def _nodes(api: BlockingClient, stats: list[dict[str, Any]], name: str) -> Iterator[list[Any]]:
    from netpod.api import quantity

    nodes = api.request("GET", registry.lookup("nodes").path())["items"]
    capacity = {node["metadata"]["name"]: node["status"]["allocatable"] for node in nodes}
    for node in (item["node"] for item in stats):
        if name not in ("", node["nodeName"]) or node["nodeName"] not in capacity:
            continue
        there = capacity[node["nodeName"]]
        cpu, memory = node["cpu"].get("usageNanoCores", 0), node["memory"]["workingSetBytes"]
        yield [
            node["nodeName"],
            cpu,
            f"{cpu * 100 // int(quantity.parse(there['cpu']) * 10**9)}%",
            memory,
            f"{memory * 100 // int(quantity.parse(there['memory']))}%",
        ]


def _pods(stats: list[dict[str, Any]]) -> list[dict[str, Any]]:
    pods = [pod for item in stats for pod in item["pods"]]
    return sorted(pods, key=lambda p: (p["podRef"]["namespace"], p["podRef"]["name"]))


def _pod_rows(
    pods: Iterable[dict[str, Any]], namespaces: bool, containers: bool
) -> Iterator[list[Any]]:
    for pod in pods:
        where = [pod["podRef"]["namespace"]] if namespaces else []
        where.append(pod["podRef"]["name"])
        for part in pod["containers"] if containers else [pod]:
            own = [part["name"]] if containers else []
            cpu = part["cpu"].get("usageNanoCores", 0)
            yield [*where, *own, cpu, part["memory"]["workingSetBytes"]]


def _links(
    stats: list[dict[str, Any]], pods: list[dict[str, Any]], name: str
) -> Iterator[list[str]]:
    shown = {pod["podRef"]["uid"] for pod in pods}
    for item in stats:
        node = item["node"]["nodeName"]
        if name not in ("", node):
            continue
        for link in (item["node"].get("network") or {}).get("interfaces", ()):
            yield [node, link["name"], "-", *(str(link[counter]) for counter in _COUNTERS)]
        for pod in item["pods"]:
            ref = pod["podRef"]
            for link in (pod.get("network") or {}).get("interfaces", ()):
                if ref["uid"] in shown:
                    pod_name = f"{ref['namespace']}/{ref['name']}"
                    counts = [str(link[counter]) for counter in _COUNTERS]
                    yield [node, link["name"], pod_name, *counts]


def _selected(api: BlockingClient, selector: str, namespace: str) -> set[str]:
    path = registry.lookup("pods").path(namespace)
    found = api.request("GET", path, query={"labelSelector": selector})["items"]
    return {pod["metadata"]["uid"] for pod in found}


def _with(title: list[str], rows: Iterable[Sequence[Any]], sort_by: str | None) -> Rows:
    """Rows below their title, in kubectl's units."""
    found = list(rows)
    if sort_by:
        column = title.index("CPU(cores)" if sort_by == "cpu" else "MEMORY(bytes)")
        found.sort(key=lambda row: row[column], reverse=True)
    return [title, *([_cell(t, c) for t, c in zip(title, row, strict=True)] for row in found)]


def _cell(title: str, value: Any) -> str:
    if title == "CPU(cores)":
        return f"{value // 1_000_000}m"
    return f"{value >> 20}Mi" if title == "MEMORY(bytes)" else str(value)


def _title(counter: str) -> str:
    return f"{counter[:2]}-{counter[2:]}".upper()
