"""netpod delete."""

import click

from netpod.errors import NotFound, UsageError
from netpod_cli import context, waiting
from netpod_cli.context import Target


@click.command(
    "delete", help="Delete objects: pod/NAME, deploy NAME, -f FILE, pods --all, pods -l a=b."
)
@click.argument("arguments", nargs=-1, metavar="RESOURCE [NAME]...")
@click.option("-f", "--filename", "files", multiple=True, help="Delete what this file names.")
@click.option("-l", "--selector", default="", help="Label selector.")
@click.option("--all", "everything", is_flag=True, help="All objects of the resource.")
@click.option("--grace-period", type=int, default=None, help="Seconds a pod gets to end.")
@click.option("--force", is_flag=True, help="At once: no grace period.")
@click.option(
    "--cascade", type=click.Choice(["background", "foreground", "orphan"]), default="background"
)
@click.option("--ignore-not-found", is_flag=True, help="Absent is no error.")
@click.option("--wait/--no-wait", default=True, help="Wait until it is gone.")
@click.option("--timeout", default="60s", help="How long to wait.")
@context.namespace_options
def delete_command(
    arguments: tuple[str, ...],
    files: tuple[str, ...],
    selector: str,
    everything: bool,
    grace_period: int | None,
    force: bool,
    cascade: str,
    ignore_not_found: bool,
    wait: bool,
    timeout: str,
    namespace: str,
) -> int:
    """Delete objects."""
    api = context.api()
    found: list[tuple[Target, str]] = []
    if files:
        found = context.manifest_targets(files, namespace)
    else:
        for target in context.targets(arguments):
            if target.name:
                found.append((target, namespace))
            elif everything or selector:
                query = {"labelSelector": selector} if selector else {}
                listing = api.request("GET", target.path(namespace), query=query)
                found += [
                    (Target(target.resource, item["metadata"]["name"]), namespace)
                    for item in listing["items"]
                ]
            else:
                raise UsageError("resource(s) were provided, but no name was specified")
    options: dict[str, object] = {"propagationPolicy": cascade.capitalize()}
    if force:
        grace_period = 0
    if grace_period is not None:
        options["gracePeriodSeconds"] = grace_period
    gone: list[tuple[Target, str]] = []
    failures = context.Failures()
    for target, place in found:
        with failures.said():
            try:
                api.request("DELETE", target.path(place), body=options)
            except NotFound:
                if ignore_not_found:
                    continue
                raise
            forced = "force deleted" if force else "deleted"
            click.echo(f'{target.qualified.partition("/")[0]} "{target.name}" {forced}')
            gone.append((target, place))
    if not found:
        click.echo("No resources found", err=True)
    if wait:
        for target, place in gone:
            waiting.until_gone(api, target, place, waiting.seconds(timeout))
    return failures.code
