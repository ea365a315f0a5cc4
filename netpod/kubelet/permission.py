"""What somebody who asks a kubelet has to be allowed: a subresource of its Node.

    /pods, /exec, /attach, /containerLogs, /portForward    nodes/proxy
    /metrics...                                            nodes/metrics
    /stats...                                              nodes/stats

A monitoring program with a ServiceAccount token may read metrics of nodes when a role of its says so, and nothing else.

Source: kubernetes pkg/kubelet/server/auth.go (GetRequestAttributes).
"""

from aiohttp import web

from netpod.client import delegated
from netpod.client.rest import Client

_SUBRESOURCES = {"metrics": "metrics", "stats": "stats"}


async def check(client: Client, request: web.BaseRequest, node: str) -> None:
    """Let a request pass.

    Raises:
        Unauthorized, Forbidden, ApiError: see client/delegated.py.
    """
    subresource = _SUBRESOURCES.get(request.path.strip("/").split("/")[0], "proxy")
    await delegated.check(
        client,
        request,
        f"resource=nodes, subresource={subresource}",
        {"resource": "nodes", "subresource": subresource, "name": node},
    )
