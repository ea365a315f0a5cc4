"""Who may ask a component: an administrator by certificate, anybody else by a token that the API server vouches for.

Source: k8s.io/apiserver pkg/authentication/request, pkg/server/options (delegated TokenReview and SubjectAccessReview).
"""

from typing import TYPE_CHECKING

import orjson

from netpod.api.meta import Json
from netpod.client.rest import Client
from netpod.errors import Forbidden, Unauthorized

if TYPE_CHECKING:
    from aiohttp import web

MASTERS = "system:masters"
_TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
_ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create"}


async def check(
    client: Client, request: "web.BaseRequest", what: str, attributes: dict[str, Json]
) -> None:
    """Let a request pass.

    Args:
        client: Who vouches.
        request: Over TLS.
        what: What it is about, for who is refused.
        attributes: The same in a SubjectAccessReview; of a resource, or `path` alone. The verb is the method's.

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
    verb = _VERBS.get(request.method, "update")
    if subject or scheme.lower() != "bearer":
        raise _refused(dict(subject).get("commonName", "system:anonymous"), verb, what)
    found = (await _review(client, _TOKENS, {"token": token.strip()})).get("user") or {}
    if not found:
        raise Unauthorized("Unauthorized")
    kind = "nonResourceAttributes" if "path" in attributes else "resourceAttributes"
    user = str(found.get("username", ""))
    groups = found.get("groups") or []
    spec = {"user": user, "groups": groups, kind: {**attributes, "verb": verb}}
    if not (await _review(client, _ACCESS, spec)).get("allowed"):
        raise _refused(user, verb, what)


async def _review(client: Client, path: str, spec: dict[str, Json]) -> dict[str, Json]:
    answer = await client.raw("POST", path, orjson.dumps({"spec": spec}), "application/json")
    status: dict[str, Json] = orjson.loads(answer).get("status") or {}
    return status


def _refused(user: str, verb: str, what: str) -> Forbidden:
    return Forbidden(f"Forbidden (user={user}, verb={verb}, {what})")
