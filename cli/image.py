"""netpod image: the images on this machine, which all clusters share."""

import click

from netpod.kubelet.images import Images
from netpod_cli import output


@click.group("image", help="Pull, load, list and remove images.")
def image_command() -> None:
    """Images on this machine."""


@image_command.command("pull", help="Fetch images from their registries.")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--tls-verify/--no-tls-verify", default=True, help="Insist on a valid certificate.")
def pull(names: tuple[str, ...], tls_verify: bool) -> None:
    """Fetch images."""
    store = Images()
    for name in names:
        found = store.pull(name, tls_verify=tls_verify)
        click.echo(f"image/{found.name} pulled")


@image_command.command(
    "load", help="Take images from a docker archive, an OCI archive or an OCI layout."
)
@click.argument("source", metavar="FILE|DIRECTORY")
@click.option("--name", default="", help="Keep it under this name instead of its own.")
def load(source: str, name: str) -> None:
    """Take images from a file or directory."""
    for found in Images().load(source, name):
        click.echo(f"image/{found.name} loaded")


@image_command.command("list", help="List images.")
def list_images() -> None:
    """List images."""
    rows = [["IMAGE", "DIGEST", "CREATED", "SIZE"]]
    rows += [
        [it.name, it.digest.removeprefix("sha256:")[:12], it.created, f"{it.size / 1e6:.1f}MB"]
        for it in Images().entries()
    ]
    click.echo(output.columns(rows))


@image_command.command("rm", help="Remove images.")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
def remove(names: tuple[str, ...]) -> None:
    """Remove images."""
    store = Images()
    for name in names:
        store.remove(name)
        click.echo(f"image/{name} removed")
