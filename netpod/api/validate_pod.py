"""Rules for pods and pod templates, beyond their containers.

Source: pkg/apis/core/validation/validation.go ValidatePodSpec.
"""

from netpod.api import (
    memo,
    validate_addresses,
    validate_affinity,
    validate_container,
    validate_meta,
    validate_names,
)
from netpod.api.meta import Json
from netpod.api.pod import Pod, PodDNSConfig, PodSpec, Toleration
from netpod.api.validate_errors import Errors, index
from netpod.errors import FieldError

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
MAX_NAMESERVERS, MAX_SEARCHES, MAX_SEARCH_CHARACTERS = 3, 32, 2048
_MAX_INT32 = 2**31 - 1


def pod(errors: Errors, obj: Pod) -> None:
    """Check a new Pod."""
    errors.found.extend(_pod_spec(obj.spec))
    if obj.spec.node_name and obj.spec.scheduling_gates:
        detail = "cannot be set until all schedulingGates have been cleared"
        errors.forbidden("spec.nodeName", detail)


@memo.by_identity
def _pod_spec(spec: PodSpec) -> list[FieldError]:
    errors = Errors()
    pod_spec(errors, spec, "spec")
    return errors.found


def pod_spec(errors: Errors, spec: PodSpec, path: str) -> None:
    """Check the spec of a pod or template.

    Args:
        errors: Collects what is wrong.
        spec: The spec, with defaults.
        path: `spec`, or `spec.template.spec`.
    """
    volumes = _volumes(errors, spec, path)
    names: set[str] = set()
    validate_container.containers(errors, spec, path, volumes, names)
    if spec.ephemeral_containers and path == "spec":
        errors.forbidden("spec.ephemeralContainers", "cannot be set on create")
    if spec.restart_policy:
        errors.supported(f"{path}.restartPolicy", spec.restart_policy, RESTART_POLICIES)
    else:
        errors.required(f"{path}.restartPolicy")
    _numbers(errors, spec, path)
    _names(errors, spec, path)
    errors.supported(f"{path}.dnsPolicy", spec.dns_policy, DNS_POLICIES)
    _dns(errors, spec.dns_policy, spec.dns_config, f"{path}.dnsConfig")
    validate_meta.labels(errors, spec.node_selector, f"{path}.nodeSelector")
    for position, toleration in enumerate(spec.tolerations):
        _toleration(errors, toleration, index(f"{path}.tolerations", position))
    for position, alias in enumerate(spec.host_aliases):
        at = index(f"{path}.hostAliases", position)
        errors.each(f"{at}.ip", alias.ip, validate_addresses.address(alias.ip))
        for host in alias.hostnames:
            errors.each(f"{at}.hostnames", host, validate_names.dns1123_subdomain(host))
    for position, gate in enumerate(spec.readiness_gates):
        at = f"{index(f'{path}.readinessGates', position)}.conditionType"
        errors.each(at, gate.condition_type, validate_names.qualified_name(gate.condition_type))
    _gates(errors, spec, f"{path}.schedulingGates")
    if spec.affinity is not None:
        validate_affinity.affinity(errors, spec.affinity, f"{path}.affinity")
    _users(errors, spec.security_context, f"{path}.securityContext")
    for name, listed in (
        ("initContainers", spec.init_containers),
        ("containers", spec.containers),
    ):
        for position, container in enumerate(listed):
            at = f"{index(f'{path}.{name}', position)}.securityContext"
            _users(errors, container.security_context, at)
    _spread(errors, spec, f"{path}.topologySpreadConstraints")
    if spec.share_process_namespace and spec.host_pid:
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        errors.invalid(f"{path}.shareProcessNamespace", True, detail)


def _volumes(errors: Errors, spec: PodSpec, path: str) -> set[str]:
    """Check the volumes and return their names."""
    names: set[str] = set()
    for position, volume in enumerate(spec.volumes):
        at = index(f"{path}.volumes", position)
        if not volume.name:
            errors.required(f"{at}.name")
        else:
            errors.each(f"{at}.name", volume.name, validate_names.dns1123_label(volume.name))
        errors.unique(f"{at}.name", volume.name, names)
        sources = [name for name, source in volume.unknown.items() if source is not None]
        if not sources:
            errors.required(at, "must specify a volume type")
        for extra in sources[1:]:
            errors.forbidden(f"{at}.{extra}", "may not specify more than 1 volume type")
    return names


def _numbers(errors: Errors, spec: PodSpec, path: str) -> None:
    deadline = spec.active_deadline_seconds
    if deadline is not None and not 1 <= deadline <= _MAX_INT32:
        detail = validate_names.between(1, _MAX_INT32)
        errors.invalid(f"{path}.activeDeadlineSeconds", deadline, detail)
    grace = f"{path}.terminationGracePeriodSeconds"
    errors.non_negative(grace, spec.termination_grace_period_seconds)


def _names(errors: Errors, spec: PodSpec, path: str) -> None:
    for name, value in (("hostname", spec.hostname), ("subdomain", spec.subdomain)):
        if value:
            errors.each(f"{path}.{name}", value, validate_names.dns1123_label(value))
    for name, value in (
        ("nodeName", spec.node_name),
        ("serviceAccountName", spec.service_account_name),
        ("schedulerName", spec.scheduler_name),
        ("priorityClassName", spec.priority_class_name),
        ("runtimeClassName", spec.runtime_class_name or ""),
    ):
        if value:
            errors.each(f"{path}.{name}", value, validate_names.dns1123_subdomain(value))


def _dns(errors: Errors, policy: str, config: PodDNSConfig | None, path: str) -> None:
    if policy == "None" and (config is None or not config.nameservers):
        where = path if config is None else f"{path}.nameservers"
        detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        errors.required(where, detail)
    if config is None:
        return
    if len(config.nameservers) > MAX_NAMESERVERS:
        detail = f"must not have more than {MAX_NAMESERVERS} nameservers"
        errors.invalid(f"{path}.nameservers", list(config.nameservers), detail)
    for position, server in enumerate(config.nameservers):
        at = index(f"{path}.nameservers", position)
        errors.each(at, server, validate_addresses.address(server))
    if len(config.searches) > MAX_SEARCHES:
        detail = f"must not have more than {MAX_SEARCHES} search paths"
        errors.invalid(f"{path}.searches", list(config.searches), detail)
    if len(" ".join(config.searches)) > MAX_SEARCH_CHARACTERS:
        detail = f"must not have more than {MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list"
        errors.invalid(f"{path}.searches", list(config.searches), detail)
    for position, search in enumerate(config.searches):
        # Underscores occur in names of SRV records, and "." means no search at all.
        name = search.removesuffix(".").replace("_", "a")
        if search != ".":
            at = index(f"{path}.searches", position)
            errors.each(at, search, validate_names.dns1123_subdomain(name))
    for position, option in enumerate(config.options):
        if not option.name:
            errors.required(index(f"{path}.options", position), "must not be empty")


def _toleration(errors: Errors, toleration: Toleration, path: str) -> None:
    operator, effect = toleration.operator, toleration.effect
    if toleration.key:
        problems = validate_names.qualified_name(toleration.key)
        errors.each(f"{path}.key", toleration.key, problems)
    elif operator != "Exists":
        detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        errors.invalid(f"{path}.operator", operator, detail)
    if toleration.toleration_seconds is not None and effect != "NoExecute":
        detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        errors.invalid(f"{path}.effect", effect, detail)
    match operator:
        case "" | "Equal":
            problems = validate_names.label_value(toleration.value)
            errors.each(f"{path}.operator", toleration.value, problems)
        case "Exists":
            if toleration.value:
                detail = "value must be empty when `operator` is 'Exists'"
                errors.invalid(f"{path}.operator", toleration, detail)
        case _:
            errors.supported(f"{path}.operator", operator, ("Equal", "Exists"))
    if effect:
        errors.supported(f"{path}.effect", effect, ("NoSchedule", "PreferNoSchedule", "NoExecute"))


def _users(errors: Errors, context: Json, path: str) -> None:
    """Check the numbers of users and groups. Source: ValidateSecurityContext, validation.IsValidUserID."""
    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        number = context.get(name) if isinstance(context, dict) else None
        if isinstance(number, int) and not 0 <= number <= _MAX_INT32:
            detail = validate_names.between(0, _MAX_INT32)
            errors.invalid(f"{path}.{name}", number, detail)


def _gates(errors: Errors, spec: PodSpec, path: str) -> None:
    names: set[str] = set()
    for position, gate in enumerate(spec.scheduling_gates):
        at = index(path, position)
        errors.each(f"{at}.name", gate.name, validate_names.qualified_name(gate.name))
        errors.unique(at, gate.name, names)


def _spread(errors: Errors, spec: PodSpec, path: str) -> None:
    for position, constraint in enumerate(spec.topology_spread_constraints):
        at = index(path, position)
        if constraint.max_skew <= 0:
            errors.invalid(f"{at}.maxSkew", constraint.max_skew, "must be greater than zero")
        if not constraint.topology_key:
            errors.required(f"{at}.topologyKey", "can not be empty")
        allowed = ("DoNotSchedule", "ScheduleAnyway")
        errors.supported(f"{at}.whenUnsatisfiable", constraint.when_unsatisfiable, allowed)
        for name, policy in (
            ("nodeAffinityPolicy", constraint.node_affinity_policy),
            ("nodeTaintsPolicy", constraint.node_taints_policy),
        ):
            if policy is not None:
                errors.supported(f"{at}.{name}", policy, ("Honor", "Ignore"))
        if constraint.label_selector is not None:
            selector = constraint.label_selector
            validate_meta.label_selector(errors, selector, f"{at}.labelSelector")
