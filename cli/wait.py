"""netpod wait."""

from typing import Any

import click

from netpod.errors import NotFound, UsageError
from netpod_cli import context, output, waiting
from netpod_cli.context import Target


@click.command(
    "wait", help="Wait for a condition: --for=condition=Ready pod/x, --for=delete pod/x."
)
@click.argument("arguments", nargs=-1, metavar="RESOURCE/NAME...")
@click.option(
    "--for",
    "goal",
    required=True,
    help="condition=NAME[=VALUE], delete, create or jsonpath={.path}[=VALUE].",
)
@click.option("-l", "--selector", default="", help="Label selector.")
@click.option("--all", "everything", is_flag=True, help="All objects of the resource.")
@click.option("--timeout", default="30s", help="How long to wait for each.")
@context.namespace_options
def wait_command(
    arguments: tuple[str, ...],
    goal: str,
    selector: str,
    everything: bool,
    timeout: str,
    namespace: str,
) -> None:
    """Wait for a condition."""
    api = context.api()
    done = _goal(goal)
    found: list[Target] = []
    for target in context.targets(arguments):
        if target.name:
            found.append(target)
        elif selector or everything:
            query = {"labelSelector": selector} if selector else {}
            listing = api.request("GET", target.path(namespace), query=query)
            found += [
                Target(target.resource, item["metadata"]["name"]) for item in listing["items"]
            ]
        else:
            raise UsageError("name the objects to wait for, or give --all or -l")
    if not found and goal != "delete":
        raise NotFound("no matching resources found")
    for target in found:
        if goal not in ("delete", "create"):
            api.request("GET", target.path(namespace))
        waiting.until(api, target, namespace, waiting.seconds(timeout), done, goal)
        click.echo(f"{target.qualified} condition met")


def _goal(goal: str) -> Any:
    if goal == "delete":
        return lambda obj: obj is None
    if goal == "create":
        return lambda obj: obj is not None
    kind, _, rest = goal.partition("=")
    if kind == "jsonpath" and rest:
        expression, given, value = rest.partition("}=")
        expression += "}" if given else ""

        def found(obj: dict[str, Any] | None) -> bool:
            text = output.jsonpath(obj, expression) if obj is not None else ""
            return text == value if given else bool(text)

        return found
    if kind != "condition" or not rest:
        raise UsageError(f"unrecognized condition: {goal!r}")
    name, _, value = rest.partition("=")
    wanted = value or "True"

    def met(obj: dict[str, Any] | None) -> bool:
        conditions = (obj or {}).get("status", {}).get("conditions", ())
        observed = (obj or {}).get("status", {}).get("observedGeneration")
        if observed is not None and observed < (obj or {})["metadata"].get("generation", 0):
            return False
        return any(
            c["type"].lower() == name.lower() and c["status"].lower() == wanted.lower()
            for c in conditions
        )

    return met
