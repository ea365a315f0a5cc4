"""netpod events."""

import contextlib
from collections.abc import Iterator
from typing import Any

import click
import orjson

from netpod.api import meta, registry
from netpod.errors import UsageError
from netpod_cli import context, output

_HEADER = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]


@click.command("events", help="List what happened, the latest last: events --for pod/NAME.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Of all namespaces.")
@click.option("--for", "about", default="", metavar="KIND/NAME", help="About one object.")
@click.option("--types", default="", help="Normal, Warning or both, with a comma.")
@click.option("-w", "--watch", is_flag=True, help="Go on as new ones come.")
@context.namespace_options
def events_command(
    all_namespaces: bool, about: str, types: str, watch: bool, namespace: str
) -> None:
    """List events."""
    api = context.api()
    path = registry.lookup("events").path("" if all_namespaces else namespace)
    query = {}
    if about:
        kind, slash, name = about.partition("/")
        if not slash or not name:
            raise UsageError("--for must be in resource/name form")
        kind = registry.lookup(kind).kind
        query["fieldSelector"] = f"involvedObject.kind={kind},involvedObject.name={name}"
    wanted = {word.strip().capitalize() for word in types.split(",") if word.strip()}
    listing = api.request("GET", path, query=query)
    found = sorted((e for e in listing["items"] or () if _is_wanted(e, wanted)), key=_time)
    rows = [_row(event, all_namespaces) for event in found]
    if not rows and not watch:
        place = "any namespace" if all_namespaces else f"{namespace} namespace"
        click.echo(f"No events found in {place}.", err=True)
        return
    header = (["NAMESPACE"] if all_namespaces else []) + _HEADER
    click.echo(output.columns([header, *rows]))
    if watch:
        version = str(listing["metadata"].get("resourceVersion", ""))
        query |= {"watch": "true", "resourceVersion": version}
        with contextlib.suppress(KeyboardInterrupt), api.stream(path, query=query) as lines:
            for event in _seen(lines):
                if _is_wanted(event, wanted):
                    click.echo(output.columns([_row(event, all_namespaces)]))


def _seen(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        change = orjson.loads(line)
        if change["type"] in ("ADDED", "MODIFIED"):
            yield change["object"]


def _is_wanted(event: dict[str, Any], types: set[str]) -> bool:
    return not types or event.get("type") in types


def _time(event: dict[str, Any]) -> str:
    return str(
        event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp", "")
    )


def _row(event: dict[str, Any], namespaces: bool) -> list[str]:
    about = event.get("involvedObject") or {}
    seen = _ago(_time(event))
    if event.get("count", 1) > 1:
        seen += f" (x{event['count']} over {_ago(str(event.get('firstTimestamp') or ''))})"
    row = [
        seen,
        event.get("type", ""),
        event.get("reason", ""),
        f"{about.get('kind', '')}/{about.get('name', '')}",
        str(event.get("message", "")).strip(),
    ]
    return [event["metadata"].get("namespace", ""), *row] if namespaces else row


def _ago(stamp: str) -> str:
    """Return an age as kubectl has it, in its largest unit or two."""
    try:
        age = int((meta.now() - meta.parse_timestamp(stamp)).total_seconds())
    except ValueError:
        return "<unknown>"
    age = max(0, age)
    if age < 120:
        return f"{age}s"
    if age < 600 and age % 60:
        return f"{age // 60}m{age % 60}s"
    if age < 7200 * 1.5:
        return f"{age // 60}m"
    return f"{age // 3600}h" if age < 48 * 3600 else f"{age // 86400}d"
