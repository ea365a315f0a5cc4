"""Paths that are no resources: health, /version, discovery, OpenAPI, /metrics/..., keys of tokens, and the list of all.

Source: k8s.io/apiserver pkg/server/routes, pkg/endpoints/discovery/aggregated/negotiation.go.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from netpod import errors
from netpod.api import registry
from netpod.apiserver import discovery, negotiation, openapi, routes, serviceaccounts
from netpod.apiserver.calls import Reply
from netpod.apiserver.health import Health
from netpod.apiserver.kubestate_cache import KubeState
from netpod.apiserver.metrics import Metrics
from netpod.apiserver.serviceaccounts import Tokens
from netpod.apiserver.storage import Storage
from netpod.metrics import CONTENT_TYPE
from netpod.store.store import RECENT

if TYPE_CHECKING:
    from multidict import MultiMapping

Resources = tuple[registry.Resource, ...]
KUBE_STATE = "/metrics/kube-state"


class Documents:
    """Answers of one server.

    Args:
        health: The checks.
        counted: The metrics.
        tokens: Whose keys are published.
        custom: Resources that CustomResourceDefinitions made, as they are now.
        storage: Whose objects are counted.
        base: URL of this server as pods reach it.
    """

    def __init__(
        self,
        health: Health,
        counted: Metrics,
        tokens: Tokens,
        custom: Callable[[], Resources],
        storage: Storage,
        base: str,
    ) -> None:
        self._health = health
        self._metrics = counted
        self._tokens = tokens
        self._custom = custom
        self._storage = storage
        self._kube_state = KubeState(storage)
        self._base = base

    async def open(self, path: str, query: "MultiMapping[str]") -> Reply:
        """The answer at a path that needs no credentials.

        Raises:
            UnknownPath: there is no such check.
        """
        if path == "/version":
            return Reply(body=discovery.document(path) or b"")
        return await self._health.answer(path, query)

    async def find(self, path: str, headers: Mapping[str, str]) -> Reply | None:
        """The answer to a GET, None where a path is about a resource."""
        custom = self._custom()
        accept = headers.get("Accept", "")
        if path.startswith("/openapi/"):
            return openapi.answer(path, accept, headers.get("If-None-Match", ""), custom)
        if path in ("/api", "/apis"):
            version = negotiation.aggregated(accept)
            if version:
                return _aggregated(path, version, headers.get("If-None-Match", ""), custom)
        if (body := discovery.document(path, custom, self._base.partition("//")[2])) is not None:
            return Reply(body=body, headers=(("Vary", "Accept"),))
        if path in (serviceaccounts.CONFIGURATION, serviceaccounts.KEYS):
            return Reply(body=self._tokens.document(path, self._base))
        if path == "/metrics":
            return Reply(body=self._metrics.text(await self._count()), content_type=CONTENT_TYPE)
        if path == KUBE_STATE:
            return Reply(body=await self._kube_state.text(), content_type=CONTENT_TYPE)
        if path == "/":
            return Reply(body=negotiation.dump({"paths": _paths(custom)}))
        return None

    async def _count(self) -> dict[str, int]:
        found = {}
        for resource in (*registry.RESOURCES, *self._custom()):
            page = await self._storage.list(resource, limit=1, not_older_than=RECENT)
            found[resource.qualified] = len(page.items) + page.remaining
        return found


def _aggregated(path: str, version: str, if_none_match: str, custom: Resources) -> Reply:
    body, tag = discovery.aggregated(path, version, custom)
    media = f"{negotiation.JSON};g={negotiation.DISCOVERY};v={version};as={discovery.LIST}"
    headers = (("ETag", f'"{tag}"'), ("Vary", "Accept"))
    if f'"{tag}"' in if_none_match:
        return Reply(status=304, content_type=media, headers=headers)
    return Reply(body=body, content_type=media, headers=headers)


def _paths(custom: Resources) -> list[str]:
    """Every path that answers a GET without naming an object."""
    served = (*registry.SERVED, *custom)
    found = {"/.well-known/openid-configuration", "/api", "/apis", "/metrics", "/version"}
    found |= {KUBE_STATE}
    found |= {"/openapi/v2", "/openapi/v3", serviceaccounts.KEYS}
    found |= {f"/apis/{r.group}" for r in served if r.group}
    found |= {f"/apis/{r.api_version}" if r.group else "/api/v1" for r in served}
    for group in ("/healthz", "/livez", "/readyz"):
        found |= {group, f"{group}/etcd", f"{group}/log", f"{group}/ping"}
    return sorted(found)


def only_get(method: str) -> None:
    """Refuse what would change a document.

    Raises:
        MethodNotAllowed: the method is not GET or HEAD.
    """
    if method not in ("GET", "HEAD"):
        raise errors.MethodNotAllowed(routes.NOT_ALLOWED)
