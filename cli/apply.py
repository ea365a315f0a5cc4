"""netpod apply."""

from typing import Any

import click
import orjson

from netpod.errors import NotFound
from netpod_cli import context, output
from netpod_cli.context import Target

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
STRATEGIC = "application/strategic-merge-patch+json"


@click.command("apply", help="Create or change objects from files: apply -f FILE, -f FOLDER, -f -.")
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    required=True,
    help="YAML or JSON; - is standard input.",
)
@click.option(
    "--dry-run",
    type=click.Choice(["none", "server"]),
    default="none",
    help="server: change nothing.",
)
@output.output_option
@context.namespace_options
def apply_command(files: tuple[str, ...], dry_run: str, output: str, namespace: str) -> int:
    """Create or change objects."""
    from netpod_cli import output as printer

    printer.check_format(output)
    manifests = context.read_manifests(files)
    api = context.api()
    query = {"fieldManager": "kubectl-client-side-apply", "fieldValidation": "Strict"}
    if dry_run == "server":
        query["dryRun"] = "All"
    failures = context.Failures()
    changed: list[dict[str, Any]] = []
    for manifest in manifests:
        target = context.manifest_target(manifest)
        place = str(manifest["metadata"].get("namespace") or namespace)
        if target.resource.namespaced:
            manifest["metadata"]["namespace"] = place
        with failures.said(f"cannot apply {target.qualified}"):
            stored, verb = _apply(api, target, place, manifest, query)
            if output not in ("", "wide", "name"):
                changed.append(stored)
            elif output == "name":
                click.echo(target.qualified)
            else:
                dry = " (server dry run)" if dry_run == "server" else ""
                click.echo(f"{target.qualified} {verb}{dry}")
    if changed:
        several = {"apiVersion": "v1", "kind": "List", "items": changed}
        click.echo(printer.dump(changed[0] if len(manifests) == 1 else several, output))
    return failures.code


def _apply(
    api: Any, target: Target, namespace: str, manifest: dict[str, Any], query: dict[str, str]
) -> tuple[dict[str, Any], str]:
    from netpod.apiserver import patch_threeway

    said = orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE).decode()
    annotations = manifest["metadata"].get("annotations") or {}
    modified = {
        **manifest,
        "metadata": {**manifest["metadata"], "annotations": {**annotations, LAST_APPLIED: said}},
    }
    try:
        current = api.request("GET", target.path(namespace))
    except NotFound:
        path = target.resource.path(namespace)
        return api.request("POST", path, query=query, body=modified), "created"
    last = current["metadata"].get("annotations", {}).get(LAST_APPLIED)
    original = orjson.loads(last) if last else {}
    patch = patch_threeway.three_way(target.resource.kind, original, modified, current)
    if not patch:
        return current, "unchanged"
    changed = api.request(
        "PATCH", target.path(namespace), query=query, body=patch, content_type=STRATEGIC
    )
    same = changed["metadata"]["resourceVersion"] == current["metadata"]["resourceVersion"]
    return changed, "unchanged" if same else "configured"
