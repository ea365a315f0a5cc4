"""netpod rollout: status, history, undo, restart, pause and resume."""

import time
from collections.abc import Sequence
from typing import Any

import click

from netpod.api import meta, registry, rollouts
from netpod.client.blocking import MERGE_PATCH, BlockingClient
from netpod.errors import NetpodError, UsageError
from netpod_cli import context, output, waiting
from netpod_cli.context import Target


@click.group("rollout", help="Follow and manage rollouts of deploy, ds and sts.")
def rollout_command() -> None:
    """Follow and manage rollouts."""


def _chosen(api: BlockingClient, arguments: Sequence[str], namespace: str) -> list[Target]:
    found = []
    for target in context.targets(arguments):
        if target.resource.kind not in rollouts.KINDS:
            raise UsageError(f"no rollouts of {target.resource.plural}: name deploy, ds or sts")
        if target.name:
            found.append(target)
        else:
            listing = api.request("GET", target.path(namespace))
            found += [Target(target.resource, i["metadata"]["name"]) for i in listing["items"]]
    return found


def _get(api: BlockingClient, target: Target, namespace: str) -> dict[str, Any]:
    return {**api.request("GET", target.path(namespace)), "kind": target.resource.kind}


def _revisions(api: BlockingClient, obj: dict[str, Any], namespace: str) -> list[rollouts.Revision]:
    kept = "replicasets.apps" if obj["kind"] == "Deployment" else "controllerrevisions.apps"
    listing = api.request("GET", registry.lookup(kept).path(namespace))
    return rollouts.history(obj, listing["items"] or ())


@rollout_command.command("status")
@click.argument("arguments", nargs=-1, metavar="RESOURCE/NAME...")
@click.option("-w", "--watch/--no-watch", default=True, help="Wait until the end.")
@click.option("--timeout", default="0s", help="Give up after this long; 0s is never.")
@context.namespace_options
def status_command(arguments: tuple[str, ...], watch: bool, timeout: str, namespace: str) -> None:
    """Say how a rollout goes, until it ends."""
    api = context.api()
    limit = waiting.seconds(timeout)
    deadline = time.monotonic() + limit if limit else None
    for target in _chosen(api, arguments, namespace):
        said = ""
        while True:
            message, done = rollouts.status(_get(api, target, namespace))
            if message != said:
                click.echo(message)
                said = message
            if done or not watch:
                break
            if deadline is not None and time.monotonic() > deadline:
                raise NetpodError("timed out waiting for the condition")
            waiting.rest(waiting.POLL_SECONDS)


@rollout_command.command("history")
@click.argument("arguments", nargs=-1, metavar="RESOURCE/NAME...")
@click.option("--revision", type=int, default=0, help="Show the template of one revision.")
@context.namespace_options
def history_command(arguments: tuple[str, ...], revision: int, namespace: str) -> None:
    """List the revisions of a template."""
    api = context.api()
    for target in _chosen(api, arguments, namespace):
        found = _revisions(api, _get(api, target, namespace), namespace)
        if revision:
            one = rollouts.revision(found, revision)
            click.echo(f"{target.qualified} with revision #{revision}\nPod Template:")
            text = output.dump(dict(one.template), "yaml")
            click.echo("\n".join(f"  {line}" for line in text.splitlines()))
            continue
        click.echo(f"{target.qualified} ")
        rows = [["REVISION", "CHANGE-CAUSE"], *([str(r.number), r.cause] for r in found)]
        click.echo(output.columns(rows) + "\n")


@rollout_command.command("undo")
@click.argument("arguments", nargs=-1, metavar="RESOURCE/NAME...")
@click.option("--to-revision", type=int, default=0, help="Which; 0 is the one before.")
@context.namespace_options
def undo_command(arguments: tuple[str, ...], to_revision: int, namespace: str) -> None:
    """Go back to an earlier template."""
    api = context.api()
    for target in _chosen(api, arguments, namespace):
        obj = _get(api, target, namespace)
        wanted = rollouts.to_undo(obj, _revisions(api, obj, namespace), to_revision)
        before = obj["metadata"].get("generation")
        after = api.request(
            "PATCH", target.path(namespace), body=wanted.patch, content_type=wanted.content_type
        )
        if after["metadata"].get("generation") == before:
            click.echo(
                f"{target.qualified} skipped rollback (current template already matches "
                f"revision {wanted.number})"
            )
        else:
            click.echo(f"{target.qualified} rolled back")


@rollout_command.command("restart")
@click.argument("arguments", nargs=-1, metavar="RESOURCE/NAME...")
@context.namespace_options
def restart_command(arguments: tuple[str, ...], namespace: str) -> None:
    """Replace all pods, as if the template had changed."""
    api = context.api()
    for target in _chosen(api, arguments, namespace):
        body = rollouts.restart(_get(api, target, namespace), meta.timestamp(meta.now()))
        _patch(api, target, namespace, body)
        click.echo(f"{target.qualified} restarted")


@rollout_command.command("pause")
@click.argument("arguments", nargs=-1, metavar="RESOURCE/NAME...")
@context.namespace_options
def pause_command(arguments: tuple[str, ...], namespace: str) -> None:
    """Change a Deployment without rolling it out."""
    _set_paused(arguments, namespace, paused=True)


@rollout_command.command("resume")
@click.argument("arguments", nargs=-1, metavar="RESOURCE/NAME...")
@context.namespace_options
def resume_command(arguments: tuple[str, ...], namespace: str) -> None:
    """Roll out what changed while paused."""
    _set_paused(arguments, namespace, paused=False)


def _set_paused(arguments: Sequence[str], namespace: str, *, paused: bool) -> None:
    api = context.api()
    for target in _chosen(api, arguments, namespace):
        try:
            body = rollouts.pause(_get(api, target, namespace), paused=paused)
        except UsageError as error:
            raise NetpodError(f"{target.qualified} {error}") from error
        _patch(api, target, namespace, body)
        click.echo(f"{target.qualified} {'paused' if paused else 'resumed'}")


def _patch(api: BlockingClient, target: Target, namespace: str, body: dict[str, Any]) -> None:
    api.request("PATCH", target.path(namespace), body=body, content_type=MERGE_PATCH)
