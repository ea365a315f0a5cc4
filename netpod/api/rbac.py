"""Who may do what: Role, ClusterRole and their bindings.

Source: k8s.io/api rbac/v1/types.go.
"""

from dataclasses import dataclass, field

from netpod.api.meta import LabelSelector, Object, Struct, always

GROUP = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule(Struct):
    """Verbs on resources, or on paths that are none; `*` is all."""

    verbs: tuple[str, ...] = always(())
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = field(default=(), metadata={"json": "nonResourceURLs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregationRule(Struct):
    """The role's rules are those of all ClusterRoles that any selector chooses."""

    cluster_role_selectors: tuple[LabelSelector, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Role(Object):
    """Rules within one namespace."""

    api_version: str = always("rbac.authorization.k8s.io/v1")
    kind: str = always("Role")
    rules: tuple[PolicyRule, ...] = always(())


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRole(Object):
    """Rules for the whole cluster, or to be bound in a namespace."""

    api_version: str = always("rbac.authorization.k8s.io/v1")
    kind: str = always("ClusterRole")
    rules: tuple[PolicyRule, ...] = always(())
    aggregation_rule: AggregationRule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject(Struct):
    """A User, Group or ServiceAccount."""

    kind: str = always("")
    api_group: str = ""
    name: str = always("")
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRef(Struct):
    """The role that is bound; immutable."""

    api_group: str = always("")
    kind: str = always("")
    name: str = always("")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleBinding(Object):
    """Gives a Role, or a ClusterRole within this namespace, to subjects."""

    api_version: str = always("rbac.authorization.k8s.io/v1")
    kind: str = always("RoleBinding")
    subjects: tuple[Subject, ...] = ()
    role_ref: RoleRef = field(default_factory=RoleRef, metadata={"always": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRoleBinding(Object):
    """Gives a ClusterRole to subjects, everywhere."""

    api_version: str = always("rbac.authorization.k8s.io/v1")
    kind: str = always("ClusterRoleBinding")
    subjects: tuple[Subject, ...] = ()
    role_ref: RoleRef = field(default_factory=RoleRef, metadata={"always": True})
