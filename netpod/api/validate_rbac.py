"""Rules for roles and bindings.

Source: pkg/apis/rbac/validation/validation.go.
"""

from netpod.api import validate_meta, validate_names
from netpod.api.rbac import (
    GROUP,
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    Role,
    RoleBinding,
    Subject,
)
from netpod.api.validate_errors import Errors, index


def role(errors: Errors, obj: Role) -> None:
    """Check a Role."""
    for position, rule in enumerate(obj.rules):
        _rule(errors, rule, index("rules", position), namespaced=True)


def cluster_role(errors: Errors, obj: ClusterRole) -> None:
    """Check a ClusterRole."""
    for position, rule in enumerate(obj.rules):
        _rule(errors, rule, index("rules", position), namespaced=False)
    if obj.aggregation_rule is None:
        return
    path = "aggregationRule.clusterRoleSelectors"
    if not obj.aggregation_rule.cluster_role_selectors:
        detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        errors.required(path, detail)
    for position, selector in enumerate(obj.aggregation_rule.cluster_role_selectors):
        at, before = index(path, position), len(errors.found)
        validate_meta.label_selector(errors, selector, at)
        if len(errors.found) > before:
            errors.invalid(at, selector, "invalid label selector.")


def _rule(errors: Errors, rule: PolicyRule, path: str, *, namespaced: bool) -> None:
    if not rule.verbs:
        errors.required(f"{path}.verbs", "verbs must contain at least one value")
    if rule.non_resource_urls:
        at = f"{path}.nonResourceURLs"
        urls = list(rule.non_resource_urls)
        if namespaced:
            detail = "namespaced rules cannot apply to non-resource URLs"
            errors.invalid(at, urls, detail)
        if rule.api_groups or rule.resources or rule.resource_names:
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            errors.invalid(at, urls, detail)
        return
    if not rule.api_groups:
        errors.required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.resources:
        errors.required(f"{path}.resources", "resource rules must supply at least one resource")


def role_binding(errors: Errors, obj: RoleBinding) -> None:
    """Check a RoleBinding."""
    _binding(errors, obj, ("Role", "ClusterRole"))


def cluster_role_binding(errors: Errors, obj: ClusterRoleBinding) -> None:
    """Check a ClusterRoleBinding."""
    _binding(errors, obj, ("ClusterRole",))


def _binding(errors: Errors, obj: RoleBinding | ClusterRoleBinding, kinds: tuple[str, ...]) -> None:
    role_ref = obj.role_ref
    if role_ref.api_group != GROUP:
        errors.supported("roleRef.apiGroup", role_ref.api_group, (GROUP,))
    if role_ref.kind not in kinds:
        errors.refuse("roleRef.kind", role_ref.kind, kinds)
    if not role_ref.name:
        errors.required("roleRef.name")
    else:
        errors.each("roleRef.name", role_ref.name, validate_names.path_segment(role_ref.name))
    for position, subject in enumerate(obj.subjects):
        _subject(errors, subject, index("subjects", position))


def _subject(errors: Errors, subject: Subject, path: str) -> None:
    if not subject.name:
        errors.required(f"{path}.name")
    match subject.kind:
        case "ServiceAccount":
            if subject.name:
                problems = validate_names.dns1123_subdomain(subject.name)
                errors.each(f"{path}.name", subject.name, problems)
            if subject.api_group:
                errors.supported(f"{path}.apiGroup", subject.api_group, ("",))
            if not subject.namespace:
                errors.required(f"{path}.namespace")
        case "User" | "Group":
            if subject.api_group != GROUP:
                errors.supported(f"{path}.apiGroup", subject.api_group, (GROUP,))
        case _:
            errors.refuse(f"{path}.kind", subject.kind, ("ServiceAccount", "User", "Group"))


def binding_update(
    errors: Errors, new: RoleBinding | ClusterRoleBinding, old: RoleBinding | ClusterRoleBinding
) -> None:
    """A binding stays with its role."""
    if new.role_ref != old.role_ref:
        errors.invalid("roleRef", new.role_ref, "cannot change roleRef")
