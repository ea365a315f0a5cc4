"""netpod curl."""

import os
import re

import click

from netpod.errors import NotFound
from netpod_cli import context

_URL = re.compile(
    r"(?P<scheme>https?://)?(?:[^/@]*@)?(?P<host>\[[^]]*\]|[^/:?#]+)(?::(?P<port>\d+))?"
)
_ELSEWHERE = {"--resolve", "--connect-to", "--proxy", "-x", "--unix-socket"}


@click.command(
    "curl",
    help="Run curl from the outside, a node or a pod; hosts of Ingresses and HTTPRoutes lead to their load balancer.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option(
    "--from", "origin", default="outside", show_default=True, help="outside, edge, node/X or pod/X."
)
@context.namespace_options
@click.argument(
    "arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="URL [CURL OPTION]..."
)
def curl_command(origin: str, namespace: str, arguments: tuple[str, ...]) -> int:
    """Run curl."""
    from netpod.cluster import place
    from netpod.linux import process

    api = context.api()
    stand = place.find(context.paths(), api, origin, namespace)
    argv = ["curl", "--silent", "--show-error"]
    urls = [match for a in arguments if (match := _URL.match(a))]
    routed = place.routed(api)
    for host in sorted({url["host"] for url in urls if _routed(url["host"], routed) is not None}):
        ports = {"80", "443"} | {url["port"] for url in urls if url["host"] == host and url["port"]}
        address = _routed(host, routed)
        if not address:
            raise NotFound(f"cannot reach {host}: its load balancer has no address yet")
        for port in sorted(ports):
            argv += ["--resolve", f"{host}:{port}:{address}"]
    if not stand.pod and not _ELSEWHERE.intersection(arguments):
        # There is no DNS outside the cluster, and curl would ask the machine's until it gives up.
        for url in urls:
            known = _routed(url["host"], routed) is not None or _is_address(url["host"])
            if url["scheme"] and not known:
                raise NotFound(
                    f"cannot resolve {url['host']}: no Ingress or HTTPRoute names it; "
                    "Services resolve in pods: --from pod/NAME"
                )
    argv += arguments
    if stand.pod:
        from netpod_cli import exec as execution

        return execution.run_in_pod(stand, argv)
    pid = process.spawn(argv, netns=stand.netns, stdin=0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _routed(host: str, routed: dict[str, str]) -> str | None:
    """The address of a host, None when nobody serves it."""
    rest = host
    while rest:
        if (found := routed.get(host if rest == host else f"*.{rest}")) is not None:
            return found
        rest = rest.partition(".")[2]
    return None


def _is_address(host: str) -> bool:
    return host == "localhost" or host.startswith("[") or re.fullmatch(r"[\d.]+", host) is not None
