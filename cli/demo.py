"""netpod demo: the whole way of one request, from nothing."""

from pathlib import Path

import click

from netpod_cli import context

EXAMPLE = "ingress.yaml"
NEXT = """
What to try next:
  sudo {netpod} get pods,svc,ingress -o wide
  sudo {netpod} trace http://example.com/ -o json
  sudo {netpod} rules svc/example-service --node {node}
  sudo {netpod} scale deploy/example-app --replicas 0; sudo {netpod} trace http://example.com/
  sudo ip netns exec {netns} {iptables} -t nat -nvL KUBE-SERVICES
  sudo KUBECONFIG={kubeconfig} kubectl describe ingress example-ingress
  sudo {netpod} down"""


def example(name: str = EXAMPLE) -> Path:
    """Where an example file lies: beside the installed package, or in the checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "examples" / name
    return installed if installed.exists() else here.parent / "examples" / name


@click.command("demo", help="Start a cluster, apply the example and trace one request.")
def demo_command() -> int:
    """Show the main job."""
    from netpod.cluster import config as configuration
    from netpod.cluster import up
    from netpod.proxy.config import Variant
    from netpod_cli import main

    cluster = ["--cluster", context.paths().cluster]
    host, resource = "http://example.com/", "deployment/example-app"
    if not up.is_up(context.paths().cluster) and (code := main.run([*cluster, "up"])):
        return code
    for step in (
        ["apply", "-f", str(example())],
        ["wait", "--for=condition=Available", resource, "--timeout=30s"],
        [
            "wait",
            "--for=jsonpath={.status.loadBalancer.ingress[0].ip}",
            "ingress/example-ingress",
        ],
        ["trace", host],
    ):
        click.echo(click.style(f"\n$ netpod {' '.join(step)}", bold=True))
        if code := main.run([*cluster, *step]):
            return code
    paths = context.paths()
    config = configuration.load(paths.cluster)
    node = config.nodes[-1].name
    netpod = "netpod" if paths.cluster == "netpod" else f"netpod --cluster {paths.cluster}"
    iptables = "iptables-legacy" if config.variant is Variant.LEGACY else "iptables"
    names = {
        "netpod": netpod,
        "node": node,
        "netns": paths.netns_node(node),
        "iptables": iptables,
    }
    click.echo(NEXT.format(kubeconfig=paths.kubeconfig, **names))
    return 0
