"""The gate: who is asking, as whom, and whether they may. Everything about access that needs the store.

Source: k8s.io/apiserver pkg/endpoints/filters/{authentication,impersonation,authorization}.go.
"""

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from netpod import errors
from netpod.api import codec, registry
from netpod.api.meta import Json
from netpod.api.rbac import GROUP, ClusterRole, PolicyRule
from netpod.apiserver import (
    authentication,
    authorization,
    certificates,
    negotiation,
    noderestriction,
    nodes,
    objects,
    storage,
)
from netpod.apiserver.authentication import AUTHENTICATED, MASTERS, Certificate, User
from netpod.apiserver.authorization import Attributes, Authorizer
from netpod.apiserver.calls import Call
from netpod.apiserver.routes import Route
from netpod.apiserver.serviceaccounts import Tokens
from netpod.apiserver.storage import Storage
from netpod.apiserver.writes import Writer

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

IMPERSONATE = "Impersonate-User"
_GROUP, _UID, _EXTRA = "Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-"
_ACCOUNT = authorization.SERVICE_ACCOUNT
_CHECKED = ("roles", "clusterroles", "rolebindings", "clusterrolebindings")


class Access:
    """Authentication and authorization of one server's requests."""

    def __init__(self, storage: Storage, static: Mapping[str, User], tokens: Tokens) -> None:
        self._storage = storage
        self._static = static
        self.tokens = tokens
        self.authorizer = Authorizer(storage)
        self._nodes = nodes.Nodes(storage)

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Read all roles and bindings, and follow them from now on."""
        for live in self.authorizer.lives:
            await live.load()
            tasks.create_task(live.run())

    async def gather(self, writer: Writer) -> None:
        """Write into each role that gathers others what it gathers, for ever, so that people see it."""
        authorizer = self.authorizer
        resource = registry.of(ClusterRole)
        while True:
            await authorizer.changed.wait()
            authorizer.changed.clear()
            for role in list(authorizer.cluster_roles.objects.values()):
                rules = authorizer.aggregated(role)
                if role.aggregation_rule is None or set(map(repr, rules)) == set(
                    map(repr, role.rules)
                ):
                    continue
                with contextlib.suppress(errors.ApiError):
                    kv = await self._storage.get(resource, "", role.metadata.name)
                    new = dataclasses.replace(role, rules=rules)
                    await writer.replace(resource, kv, new)

    async def user(
        self,
        *,
        local: User | None,
        certificate: Certificate | None,
        headers: "CIMultiDictProxy[str]",
    ) -> User:
        """Who is asking, or on whose behalf.

        Args:
            local: Whom the socket says, if it is one user's.
            certificate: The client's, verified.
            headers: Of the request.

        Raises:
            Unauthorized: no credentials that we issued.
            Forbidden: they may not act for whom they name.
        """
        authorization_header = headers.get("Authorization", "")
        if local is not None:
            user = local
        elif certificate is None and authorization_header.count(".") == 2:
            scheme, _, token = authorization_header.partition(" ")
            found = await self.whose(token.strip(), ()) if scheme.lower() == "bearer" else None
            if found is None:
                raise errors.Unauthorized("Unauthorized")
            user = dataclasses.replace(found, groups=found.groups | {AUTHENTICATED})
        else:
            user = authentication.authenticate(
                certificate=certificate,
                authorization=authorization_header,
                tokens=self._static,
            )
        wanted = headers.get(IMPERSONATE, "")
        groups = headers.getall(_GROUP) if _GROUP in headers else []
        if not wanted:
            if groups or _UID in headers:
                raise errors.BadRequest(
                    "requested groups without impersonating a user: set Impersonate-User too"
                )
            return user
        extra = [
            (name[len(_EXTRA) :].lower(), tuple(headers.getall(name)))
            for name in dict.fromkeys(headers.keys())
            if name.lower().startswith(_EXTRA.lower())
        ]
        uid = headers.get(_UID, "")
        for value in (wanted, *groups, uid, *(value for _, values in extra for value in values)):
            if not value.isascii() and not _is_unicode(value):
                raise errors.BadRequest("Impersonate headers must be UTF-8")
        return self._impersonate(user, wanted, groups, uid, extra)

    def _impersonate(
        self,
        user: User,
        wanted: str,
        groups: list[str],
        uid: str,
        extra: list[tuple[str, tuple[str, ...]]],
    ) -> User:
        asked = []
        namespace = ""
        if wanted.startswith(_ACCOUNT) and wanted.count(":") == 3:
            namespace, name = wanted[len(_ACCOUNT) :].split(":")
            asked.append(
                Attributes(
                    verb="impersonate", resource="serviceaccounts", namespace=namespace, name=name
                )
            )
        else:
            asked.append(Attributes(verb="impersonate", resource="users", name=wanted))
        asked += [Attributes(verb="impersonate", resource="groups", name=name) for name in groups]
        own = "authentication.k8s.io"
        if uid:
            asked.append(Attributes(verb="impersonate", group=own, resource="uids", name=uid))
        for key, values in extra:
            asked += [
                Attributes(
                    verb="impersonate",
                    group=own,
                    resource="userextras",
                    subresource=key,
                    name=value,
                )
                for value in values
            ]
        for attributes in asked:
            if not self.authorizer.allowed(user, attributes):
                raise authorization.forbidden(user, attributes)
        if namespace and not groups:
            groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
        everybody = () if wanted == "system:anonymous" else (AUTHENTICATED,)
        return User(
            name=wanted,
            groups=frozenset((*groups, *everybody)),
            uid=uid,
            extra=tuple(extra),
            actor=user,
        )

    async def whose(self, token: str, audiences: tuple[str, ...]) -> User | None:
        """The user of a bearer token, None when nobody issued it."""
        if token.count(".") == 2:
            return await self.tokens.verify(token, audiences)
        try:
            return authentication.of_token(f"Bearer {token}", self._static)
        except errors.Unauthorized:
            return None

    async def allowed(self, user: User, wanted: Attributes) -> bool:
        """Whether the user may do it."""
        if self.authorizer.allowed(user, wanted):
            return True
        node = nodes.name_of(user)
        return bool(node) and await self._nodes.allowed(node, wanted)

    def reason(self, user: User, wanted: Attributes) -> str:
        """What allows it, "" if nothing has a name."""
        return self.authorizer.reason(user, wanted)

    def rules(self, user: User, namespace: str) -> tuple[PolicyRule, ...]:
        """All rules of a user that hold in a namespace."""
        return self.authorizer.rules(user).of(namespace)

    async def authorize(self, user: User, route: Route, only: str = "") -> None:
        """Let a request pass.

        Args:
            user: Who asks.
            route: What for.
            only: The name a field selector allows, if any.

        Raises:
            Forbidden: nothing allows it.
        """
        if MASTERS in user.groups:
            return
        wanted = authorization.of_route(route, only)
        if not await self.allowed(user, wanted):
            raise authorization.forbidden(user, wanted)

    async def authorize_unknown(self, user: User, method: str, path: str, *, watch: bool) -> None:
        """Let a request be told that nothing is served where it asks, or not in that way.

        Raises:
            Forbidden: nothing allows what it asks.
        """
        wanted = authorization.of_path(method, path, watch)
        if not await self.allowed(user, wanted):
            raise authorization.forbidden(user, wanted)

    async def authorize_path(self, user: User, method: str, path: str) -> None:
        """Let a request for something that is no resource pass.

        Raises:
            Forbidden: nothing allows it.
        """
        verb = {"GET": "get", "HEAD": "get"}.get(method, method.lower())
        wanted = Attributes(verb=verb, path=path)
        if not await self.allowed(user, wanted):
            raise authorization.forbidden(user, wanted)

    def writer(self, user: User, writer: Writer) -> Writer:
        """The writer of a user's requests: one that judges what a node writes."""
        node = nodes.name_of(user)
        return writer.judged(noderestriction.Judge(node)) if node else writer

    async def admit(self, call: Call) -> None:
        """Let a write pass, knowing its body: nodes keep to themselves, nobody grants what he has not.

        Raises:
            Forbidden: it does not pass.
            BadRequest, UnsupportedMediaType: the body cannot be read.
        """
        user, route = call.user, call.route
        if MASTERS in user.groups:
            return
        if route.resource.kind == certificates.KIND:
            await certificates.permit(self.allowed, self._storage, call)
        node = nodes.name_of(user)
        rbac = route.resource.group == GROUP and route.resource.plural in _CHECKED
        if not node and not rbac:
            return
        data = _body(call)
        if node:
            wanted = authorization.of_route(route)
            await noderestriction.restrict(self._storage, node, wanted, data)
        if rbac and route.verb in ("create", "update", "patch"):
            await self._escalation(call, data)

    async def _escalation(self, call: Call, data: dict[str, Json]) -> None:
        """A role may only be written or bound by who has its rules, or the verb escalate or bind.

        What a patch makes of a role is not known here, so it needs every right, or the verb.

        Source: pkg/registry/rbac/{escalation_check.go,clusterrole/policybased/storage.go}.
        """
        user, route = call.user, call.route
        plural, name, namespace = route.resource.plural, route.name, route.namespace
        verb, kind = "escalate", ""
        rules: tuple[PolicyRule, ...] = (
            PolicyRule(verbs=("*",), api_groups=("*",), resources=("*",)),
        )
        if plural.endswith("bindings"):
            verb = "bind"
            ref = data.get("roleRef")
            if route.verb == "patch":
                kv = await self._storage.find(route.resource, namespace, name)
                ref = objects.parsed(kv).get("roleRef") if kv is not None else ref
            ref = ref if isinstance(ref, dict) else {}
            kind, name = str(ref.get("kind", "")), str(ref.get("name", ""))
            plural = "roles" if kind == "Role" else "clusterroles"
            rules = tuple(self.authorizer.referred(kind, name, namespace))
        elif route.verb != "patch":
            rules = codec.decode(ClusterRole, data).rules
        wanted = Attributes(verb=verb, group=GROUP, resource=plural, namespace=namespace, name=name)
        if self.authorizer.allowed(user, wanted):
            return
        if verb == "bind" and not self.authorizer.has(kind, name, namespace):
            raise errors.NotFound(
                f'{plural}.{GROUP} "{name}" not found',
                details={"name": name, "group": GROUP, "kind": plural},
            )
        missing = sorted(it for rule in rules for it in self._missing(user, rule, namespace))
        if missing:
            metadata = data.get("metadata")
            own = metadata.get("name", "") if isinstance(metadata, dict) else ""
            groups = " ".join(f'"{group}"' for group in user.listed)
            raise storage.forbidden(
                route.resource,
                str(route.name or own),
                f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC '
                "permissions not currently held:\n" + "\n".join(missing),
            )

    def _missing(self, user: User, rule: PolicyRule, namespace: str) -> list[str]:
        """What of a rule the user has not, in upstream's form, an entry for each resource."""
        found = []
        for path in rule.non_resource_urls:
            wanted = [Attributes(verb=verb, path=path) for verb in rule.verbs]
            if verbs := self._refused(user, wanted):
                found.append(f'{{NonResourceURLs:["{path}"], Verbs:[{verbs}]}}')
        for group, full, name in itertools.product(
            rule.api_groups, rule.resources, rule.resource_names or ("",)
        ):
            resource, _, subresource = full.partition("/")
            wanted = [
                Attributes(
                    verb=verb,
                    group=group,
                    resource=resource,
                    subresource=subresource,
                    namespace=namespace,
                    name=name,
                )
                for verb in rule.verbs
            ]
            if verbs := self._refused(user, wanted):
                names = f', ResourceNames:["{name}"]' if name else ""
                found.append(
                    f'{{APIGroups:["{group}"], Resources:["{full}"]{names}, Verbs:[{verbs}]}}'
                )
        return found

    def _refused(self, user: User, wanted: list[Attributes]) -> str:
        return " ".join(f'"{it.verb}"' for it in wanted if not self.authorizer.allowed(user, it))


def _body(call: Call) -> dict[str, Json]:
    """What a write says, as far as it is an object; a patch that is none says nothing."""
    if not call.body or call.route.verb not in ("create", "update", "patch"):
        return {}
    if call.route.verb != "patch":
        return negotiation.body(call.body, call.content_type)
    try:
        found = codec.load_manifests(call.body)
    except errors.ApiError:
        return {}
    return found[0] if len(found) == 1 and isinstance(found[0], dict) else {}


def _is_unicode(value: str) -> bool:
    """Bytes of a header that are no UTF-8 arrive as surrogates, which nothing could write into an answer."""
    return value == value.encode(errors="replace").decode()
