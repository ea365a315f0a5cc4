"""netpod proxy-mode."""

import click

from netpod.errors import NotFound
from netpod_cli import context


@click.command(
    "proxy-mode",
    help="Change how Services become rules, on every node or on one, while everything runs: iptables, nftables or "
    "ipvs (deprecated, as upstream).",
)
@click.argument("mode")
@click.option("--node", default="", help="Only this node; it keeps its own mode until all change.")
@click.option("--timeout", default="30s", show_default=True, help="How long to wait.")
def proxy_mode_command(mode: str, node: str, timeout: str) -> None:
    """Change the proxy mode."""
    from netpod.cluster import config as configuration
    from netpod.cluster import doctor, proxymode, without
    from netpod.proxy.ipvs_config import scheduler_of
    from netpod_cli import waiting

    wanted = configuration.check_proxy_mode(mode)
    api = context.api()
    config = configuration.load(context.paths().cluster)
    without.require_own(config.without, without.KUBE_PROXY, "change the proxy mode")
    known = [item.name for item in config.nodes]
    if node and node not in known:
        raise NotFound(f'nodes "{node}" not found; there are {", ".join(known)}')
    nodes = [node] if node else known
    doctor.require_mode(wanted, scheduler_of(config.ipvs_scheduler))
    proxymode.choose(api, wanted, node)
    running = {item.name for item in config.running}
    awaited = [name for name in nodes if name in running]
    proxymode.wait(config, awaited, wanted, timeout=waiting.seconds(timeout))
    for name in nodes:
        verb = "is" if name in running else "will be"
        click.echo(f"node/{name} proxy mode {verb} {wanted}")
