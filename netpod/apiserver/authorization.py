"""Who may do what: RBAC, and for system:nodes the node authorizer. What nothing allows is forbidden.

A user's rules are put together once, and an answer is remembered until a role or binding changes; so a request
costs two dictionary lookups. system:masters may do everything without asking.

Source: plugin/pkg/auth/authorizer/rbac/rbac.go; pkg/registry/rbac/validation/rule.go.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netpod import errors
from netpod.api import selectors
from netpod.api.meta import Key
from netpod.api.rbac import (
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    Role,
    RoleBinding,
    RoleRef,
    Subject,
)
from netpod.apiserver.authentication import MASTERS, User
from netpod.apiserver.live import Live
from netpod.apiserver.routes import Route
from netpod.apiserver.storage import Storage

OPEN_PATHS = ("/healthz", "/livez", "/readyz", "/version")
"""Answered without credentials; also every path below the first three."""

_OPEN_FOLDERS = tuple(f"{path}/" for path in OPEN_PATHS[:3])
SERVICE_ACCOUNT = "system:serviceaccount:"
MAX_ANSWERS = 4096
"""Answers remembered for one user, and users remembered at all."""


def is_open(path: str) -> bool:
    """Whether a path needs no credentials."""
    return path in OPEN_PATHS or path.startswith(_OPEN_FOLDERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What somebody wants; a `path` instead of a resource is about no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full(self) -> str:
        """`pods`, or `pods/log`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def of_route(route: Route, name: str = "") -> Attributes:
    """The attributes of a request; `name` where a selector names the only object it is about."""
    return Attributes(
        verb=route.verb,
        group=route.resource.group,
        resource=route.resource.plural,
        subresource=route.subresource,
        namespace=route.namespace if route.resource.plural != "namespaces" else route.name,
        name=route.name or name,
    )


_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_OF_ALL = {"get": "list", "delete": "deletecollection"}


def of_path(method: str, path: str, watch: bool) -> Attributes:
    """What a request asks for whose path is of nothing we serve: whoever may not is told that first.

    Source: k8s.io/apiserver pkg/endpoints/request/requestinfo.go.
    """
    parts = [part for part in path.split("/") if part]
    verb = _VERBS.get(method, "")
    if parts[:1] == ["api"] and len(parts) > 2:
        group, rest = "", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, rest = parts[1], parts[3:]
    else:
        return Attributes(verb=verb or method.lower(), path=path)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace, rest = rest[1], (rest[2:] if len(rest) > 2 else rest)
    resource, name, subresource = (*rest, "", "")[:3]
    if not name:
        verb = "watch" if watch and verb == "get" else _OF_ALL.get(verb, verb)
    return Attributes(
        verb=verb,
        group=group,
        resource=resource,
        subresource=subresource,
        namespace=namespace,
        name=name,
    )


def matches(rule: PolicyRule, wanted: Attributes) -> bool:
    """Whether one rule allows it."""
    if wanted.verb not in rule.verbs and "*" not in rule.verbs:
        return False
    if wanted.path:
        return any(
            url == "*"
            or url == wanted.path
            or (url[-1:] == "*" and wanted.path.startswith(url[:-1]))
            for url in rule.non_resource_urls
        )
    if wanted.group not in rule.api_groups and "*" not in rule.api_groups:
        return False
    resources = rule.resources
    if wanted.full not in resources and "*" not in resources:
        if not wanted.subresource or f"*/{wanted.subresource}" not in resources:
            return False
    return not rule.resource_names or wanted.name in rule.resource_names


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of one user: everywhere, and by namespace; and the answers given so far."""

    everywhere: tuple[PolicyRule, ...]
    inside: Mapping[str, tuple[PolicyRule, ...]]
    answers: dict[tuple[str, str, str, str], bool]

    def of(self, namespace: str) -> tuple[PolicyRule, ...]:
        """The rules that hold in a namespace."""
        return self.everywhere + self.inside.get(namespace, ())

    def allow(self, wanted: Attributes) -> bool:
        """Whether any rule allows it."""
        if wanted.path:
            return any(matches(rule, wanted) for rule in self.everywhere)
        known = wanted.verb, wanted.group, wanted.full, wanted.namespace
        answer = self.answers.get(known)
        if answer is None:
            # True: whatever the name; False: it depends on the name, or is not allowed at all.
            found = self.of(wanted.namespace)
            nameless = Attributes(**{**_fields(wanted), "name": ""})
            answer = any(not r.resource_names and matches(r, nameless) for r in found)
            if len(self.answers) >= MAX_ANSWERS:
                self.answers.clear()
            self.answers[known] = answer
        if answer or not wanted.name:
            return answer
        return any(r.resource_names and matches(r, wanted) for r in self.of(wanted.namespace))


def _fields(wanted: Attributes) -> dict[str, str]:
    return {name: getattr(wanted, name) for name in Attributes.__slots__}


class Authorizer:
    """Answers from the roles and bindings in the store, kept up to date by watching them."""

    def __init__(self, storage: Storage) -> None:
        self._roles = Live(storage, Role, self._forget)
        self._bindings = Live(storage, RoleBinding, self._forget)
        self.cluster_roles = Live(storage, ClusterRole, self._forget)
        self._cluster_bindings = Live(storage, ClusterRoleBinding, self._forget)
        self._users: dict[User, Rules] = {}
        self.changed = asyncio.Event()

    @property
    def lives(
        self,
    ) -> tuple[Live[Role], Live[RoleBinding], Live[ClusterRole], Live[ClusterRoleBinding]]:
        """What must be loaded and followed."""
        return self._roles, self._bindings, self.cluster_roles, self._cluster_bindings

    def _forget(self) -> None:
        self._users.clear()
        self.changed.set()

    def allowed(self, user: User, wanted: Attributes) -> bool:
        """Whether the user may do it."""
        return MASTERS in user.groups or self.rules(user).allow(wanted)

    def reason(self, user: User, wanted: Attributes) -> str:
        """Which binding lets the user do it, in upstream's words; "" if it is not a binding.

        Source: plugin/pkg/auth/authorizer/rbac/rbac.go.
        """
        if MASTERS in user.groups:
            return ""
        for binding in self._cluster_bindings.objects.values():
            subject = _concerns(binding.subjects, user, "")
            rules = self._referred(binding.role_ref, "") if subject else ()
            if subject and any(matches(rule, wanted) for rule in rules):
                name = binding.metadata.name
                return "RBAC: allowed by " + _described(
                    "ClusterRoleBinding", name, binding, subject
                )
        for (namespace, name), local in self._bindings.objects.items():
            if namespace != wanted.namespace or wanted.path:
                continue
            subject = _concerns(local.subjects, user, namespace)
            rules = self._referred(local.role_ref, namespace) if subject else ()
            if subject and any(matches(rule, wanted) for rule in rules):
                told = _described("RoleBinding", f"{name}/{namespace}", local, subject)
                return f"RBAC: allowed by {told}"
        return ""

    def rules(self, user: User) -> Rules:
        """All rules of a user."""
        found = self._users.get(user)
        if found is None:
            if len(self._users) >= MAX_ANSWERS:
                self._users.clear()
            found = self._users[user] = self._compile(user)
        return found

    def _compile(self, user: User) -> Rules:
        everywhere: list[PolicyRule] = []
        for binding in self._cluster_bindings.objects.values():
            if _concerns(binding.subjects, user, ""):
                everywhere.extend(self._referred(binding.role_ref, ""))
        inside: dict[str, tuple[PolicyRule, ...]] = {}
        for (namespace, _), local in self._bindings.objects.items():
            if _concerns(local.subjects, user, namespace):
                rules = tuple(self._referred(local.role_ref, namespace))
                inside[namespace] = inside.get(namespace, ()) + rules
        return Rules(tuple(everywhere), inside, {})

    def has(self, kind: str, name: str, namespace: str) -> bool:
        """Whether there is a role of that kind and name."""
        if kind == "Role":
            return Key(namespace, name) in self._roles.objects
        return Key("", name) in self.cluster_roles.objects

    def referred(self, kind: str, name: str, namespace: str) -> Iterable[PolicyRule]:
        """The rules of a role by kind and name."""
        return self._referred(RoleRef(kind=kind, name=name), namespace)

    def _referred(self, ref: RoleRef, namespace: str) -> Iterable[PolicyRule]:
        if ref.kind == "Role":
            local = self._roles.objects.get(Key(namespace, ref.name))
            return local.rules if local is not None else ()
        role = self.cluster_roles.objects.get(Key("", ref.name))
        return self.aggregated(role) if role is not None else ()

    def aggregated(
        self, role: ClusterRole, above: frozenset[str] = frozenset()
    ) -> tuple[PolicyRule, ...]:
        """The rules of a ClusterRole: its own, or those of all roles it gathers.

        `above` are the roles that gather this one, so that a circle ends.
        """
        if role.aggregation_rule is None:
            return role.rules
        above |= {role.metadata.name}
        queries = [
            selectors.from_label_selector(s) for s in role.aggregation_rule.cluster_role_selectors
        ]
        rules: list[PolicyRule] = []
        for other in self.cluster_roles.objects.values():
            if other.metadata.name in above:
                continue
            if any(query.matches(other.metadata.labels) for query in queries):
                found = self.aggregated(other, above)
                rules.extend(rule for rule in found if rule not in rules)
        return tuple(rules)


def _concerns(subjects: tuple[Subject, ...], user: User, namespace: str) -> Subject | None:
    """The first subject of a binding that is the user, or one of the user's groups."""
    for subject in subjects:
        match subject.kind:
            case "User" if subject.name in (user.name, "*"):
                return subject
            case "Group" if subject.name in user.groups:
                return subject
            case "ServiceAccount":
                account = f"{subject.namespace or namespace}:{subject.name}"
                if user.name == SERVICE_ACCOUNT + account:
                    return subject
    return None


def _described(
    kind: str, name: str, binding: ClusterRoleBinding | RoleBinding, subject: Subject
) -> str:
    """`RoleBinding "b/ns" of Role "r" to Group "g"`."""
    ref, who = binding.role_ref, subject.name
    if subject.kind == "ServiceAccount":
        who += f"/{subject.namespace or binding.metadata.namespace}"
    return f'{kind} "{name}" of {ref.kind} "{ref.name}" to {subject.kind} "{who}"'


def forbidden(user: User, wanted: Attributes) -> errors.Forbidden:
    """What a user is told who may not do it."""
    if wanted.path:
        return errors.Forbidden(
            f'forbidden: User "{user.name}" cannot {wanted.verb} path "{wanted.path}"'
        )
    qualified = f"{wanted.resource}.{wanted.group}" if wanted.group else wanted.resource
    subject = f'{qualified} "{wanted.name}"' if wanted.name else qualified
    told = {"name": wanted.name, "group": wanted.group, "kind": wanted.resource}
    where = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    return errors.Forbidden(
        f'{subject} is forbidden: User "{user.name}" cannot {wanted.verb} resource '
        f'"{wanted.full}" in API group "{wanted.group}" {where}',
        details={name: value for name, value in told.items() if value},
    )
