"""netpod dashboard."""

import click

from netpod.errors import NotFound
from netpod_cli import context


@click.command("dashboard", help="Print the dashboard's address; it answers since `netpod up`.")
@click.option("--open", "opens", is_flag=True, help="Open it in a browser.")
@click.option(
    "--allow-edit", is_flag=True, help="A link with which one can scale, delete and apply."
)
def dashboard_command(opens: bool, allow_edit: bool) -> None:
    """Print or open the dashboard's address."""
    from netpod.dashboard import links

    context.api().close()
    link = links.load(context.paths())
    if link is None:
        raise NotFound("the dashboard is not up yet: see log/controlplane.log of the cluster")
    url = link.url(edit=allow_edit)
    click.echo(url)
    if opens:
        _open(url)


def _open(url: str) -> None:
    """Open a page for whoever called sudo: a browser must not be root's."""
    import os

    from netpod.linux import process

    user = os.environ.get("SUDO_USER", "")
    as_user = ["runuser", "-u", user, "--"] if user else []
    process.run([*as_user, "xdg-open", url])
