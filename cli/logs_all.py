"""netpod logs --all: the logs of all containers and components, as one."""

import contextlib
import itertools
import re
import signal
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING

import click
import orjson

from netpod.api import meta, registry
from netpod.client.blocking import BlockingClient
from netpod.errors import ApiError, NotFound, UsageError
from netpod_cli import context, waiting

if TYPE_CHECKING:
    from netpod.cluster.logfiles import Entry

_COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green")
_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for; `output` is text or json."""

    namespace: str
    selector: str
    node: str
    component: str
    since: str
    grep: str
    follow: bool
    timestamps: bool
    tail: int
    output: str
    export: str


@dataclass(slots=True)
class _Pods:
    """Which pods there are: node by uid, name by address, and the uids that a selector chose."""

    nodes: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    chosen: frozenset[str] | None = None


def show(options: Options) -> None:
    """Print or export what was asked for.

    Raises:
        UsageError: an option cannot be read, or there is no such component.
        NotFound: there is no such node.
        NetpodError: the receiver of the export takes nothing.
    """
    from netpod.cluster import logexport, logrecord, logs

    if options.component and options.component not in logs.COMPONENTS:
        raise UsageError(
            f"cannot show --component {options.component}: there are {', '.join(logs.COMPONENTS)}"
        )
    pods = _pods(context.api(), options)
    since = b""
    if options.since:
        from netpod.cluster.logfiles import stamp

        since = stamp(meta.now() - timedelta(seconds=waiting.seconds(options.since)))
    choice = logs.Choice(
        namespace=options.namespace,
        uids=pods.chosen,
        node=options.node,
        nodes=pods.nodes,
        component=options.component,
        since=since,
        pattern=_pattern(options.grep),
    )
    sink = logexport.open_sink(options.export) if options.export else None
    paths = context.paths()
    batches: Iterable[list[Entry]]
    if options.follow:
        batches = logs.follow(paths, choice)
    else:
        found = logs.read(paths, choice)
        batches = _batches(found if options.tail < 0 else iter(deque(found, options.tail)))
    colour = sys.stdout.isatty()
    try:
        with _stopped_by_signals():
            for batch in batches:
                if sink is None and options.output != "json":
                    _write([_line(entry, options.timestamps, colour) for entry in batch])
                    continue
                records = [logrecord.of_entry(e, pods.nodes, pods.names) for e in batch]
                if sink is not None:
                    logexport.send(sink, records)
                else:
                    _write([orjson.dumps(record) for record in records])
    except (KeyboardInterrupt, BrokenPipeError):
        return
    finally:
        if sink is not None:
            sink.close()


def _pods(api: BlockingClient, options: Options) -> _Pods:
    """What the API server knows; without it, all but selector and node still works."""
    path = registry.lookup("pods").path(options.namespace)
    try:
        items = api.request("GET", path)["items"]
        nodes = [
            n["metadata"]["name"]
            for n in api.request("GET", registry.lookup("nodes").path())["items"]
        ]
    except ApiError:
        if options.selector or options.node:
            raise
        return _Pods()
    if options.node and options.node not in nodes:
        raise NotFound(f'nodes "{options.node}" not found; there are {", ".join(nodes)}')
    found = _Pods()
    for pod in items:
        metadata = pod["metadata"]
        found.nodes[metadata["uid"]] = pod["spec"].get("nodeName", "")
        for address in pod["status"].get("podIPs") or ():
            found.names[address["ip"]] = f"{metadata['namespace']}/{metadata['name']}"
    if options.selector:
        query = {"labelSelector": options.selector}
        chosen = api.request("GET", path, query=query)["items"]
        found.chosen = frozenset(pod["metadata"]["uid"] for pod in chosen)
    return found


def _pattern(text: str) -> re.Pattern[bytes] | None:
    if not text:
        return None
    try:
        return re.compile(text.encode())
    except re.error as error:
        raise UsageError(f"cannot read --grep {text!r}: {error}") from error


def _batches(found: Iterator["Entry"]) -> Iterator[list["Entry"]]:
    while batch := list(itertools.islice(found, _BATCH)):
        yield batch


def _line(entry: "Entry", timestamps: bool, colour: bool) -> bytes:
    source = entry.source
    if source.role:
        who = f"{source.role}/{entry.component}" if entry.component else source.role
    else:
        who = f"{source.namespace}/{source.pod}/{source.container}"
    head = who
    if colour:
        # The same in every run, unlike hash().
        head = click.style(who, fg=_COLOURS[sum(who.encode()) % len(_COLOURS)])
    stamp = entry.time[:23] + b"Z " if timestamps else b""
    return stamp + head.encode() + b" " + entry.text


def _write(lines: list[bytes]) -> None:
    sys.stdout.buffer.write(b"\n".join(lines) + b"\n")
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM ends a follower as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
