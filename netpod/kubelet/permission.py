"""Who may ask a kubelet: the API server by its certificate, anybody else by a token that the API server vouches for.

    /pods, /exec, /attach, /containerLogs, /portForward    nodes/proxy
    /metrics...                                            nodes/metrics
    /stats...                                              nodes/stats

A monitoring program with a ServiceAccount token may read metrics of nodes when a role of its says so, and nothing else.

Source: kubernetes pkg/kubelet/server/auth.go (GetRequestAttributes); delegated TokenReview and SubjectAccessReview.
"""

import orjson
from aiohttp import web

from netpod.api.meta import Json
from netpod.client.rest import Client
from netpod.errors import Forbidden, Unauthorized

MASTERS = "system:masters"
_SUBRESOURCES = {"metrics": "metrics", "stats": "stats"}
_TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
_ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


async def check(client: Client, request: web.BaseRequest, node: str) -> None:
    """Let a request pass.

    Raises:
        Unauthorized: it has neither a certificate nor a token that holds.
        Forbidden: whoever asks may not.
        ApiError: the API server cannot be asked.
    """
    certificate = request.get_extra_info("peercert") or {}
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    if ("organizationName", MASTERS) in subject:
        return
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    verb = {"GET": "get", "HEAD": "get", "POST": "create"}.get(request.method, "update")
    if subject or scheme.lower() != "bearer":
        raise _refused(dict(subject).get("commonName", "system:anonymous"), verb, "nodes")
    found = (await _review(client, _TOKENS, {"token": token.strip()})).get("user") or {}
    if not found:
        raise Unauthorized("Unauthorized")
    subresource = _SUBRESOURCES.get(request.path.strip("/").split("/")[0], "proxy")
    spec = {
        "user": found.get("username", ""),
        "groups": found.get("groups") or [],
        "resourceAttributes": {
            "verb": verb,
            "resource": "nodes",
            "subresource": subresource,
            "name": node,
        },
    }
    if not (await _review(client, _ACCESS, spec)).get("allowed"):
        raise _refused(str(spec["user"]), verb, f"nodes, subresource={subresource}")


async def _review(client: Client, path: str, spec: dict[str, Json]) -> dict[str, Json]:
    answer = await client.raw("POST", path, orjson.dumps({"spec": spec}), "application/json")
    status: dict[str, Json] = orjson.loads(answer).get("status") or {}
    return status


def _refused(user: str, verb: str, resource: str) -> Forbidden:
    return Forbidden(f"Forbidden (user={user}, verb={verb}, resource={resource})")
