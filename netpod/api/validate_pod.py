"""Rules for pods and pod templates, beyond their containers.

Source: pkg/apis/core/validation/validation.go ValidatePodSpec.
"""

from netpod.api import (
    memo,
    shapes,
    shapes_pod,
    validate_addresses,
    validate_affinity,
    validate_container,
    validate_meta,
    validate_names,
    validate_security,
    validate_volume,
)
from netpod.api.meta import Json
from netpod.api.pod import Affinity, Pod, PodDNSConfig, PodSpec, Toleration
from netpod.api.validate_errors import Errors, index
from netpod.errors import FieldError

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
MAX_NAMESERVERS, MAX_SEARCHES, MAX_SEARCH_CHARACTERS = 3, 32, 2048
_MAX_INT32 = 2**31 - 1


def pod(errors: Errors, obj: Pod) -> None:
    """Check a new Pod."""
    errors.found.extend(_pod_spec(obj.spec))
    if obj.spec.node_name and obj.spec.scheduling_gates:
        detail = "cannot be set until all schedulingGates have been cleared"
        errors.forbidden("spec.nodeName", detail)


def kept_spec(spec: PodSpec) -> list[FieldError]:
    """Return what is wrong with the spec that an existing Pod is to have; it may hold containers added since."""
    return [found for found in _pod_spec(spec) if found.field != "spec.ephemeralContainers"]


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
    if not is_shaped(errors, spec, path):
        return
    volumes = validate_volume.volumes(errors, spec.volumes, f"{path}.volumes")
    names: set[str] = set()
    validate_container.containers(errors, spec, path, volumes, names)
    if spec.ephemeral_containers and path == "spec":
        errors.forbidden("spec.ephemeralContainers", "cannot be set on create")
    if spec.restart_policy:
        if spec.restart_policy not in RESTART_POLICIES:
            errors.refuse(f"{path}.restartPolicy", spec.restart_policy, RESTART_POLICIES)
    else:
        errors.required(f"{path}.restartPolicy")
    _numbers(errors, spec, path)
    _names(errors, spec, path)
    if spec.dns_policy not in DNS_POLICIES:
        errors.refuse(f"{path}.dnsPolicy", spec.dns_policy, DNS_POLICIES)
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
    validate_security.pod_context(errors, spec.security_context, f"{path}.securityContext")
    _spread(errors, spec, f"{path}.topologySpreadConstraints")
    if spec.share_process_namespace and spec.host_pid:
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        errors.invalid(f"{path}.shareProcessNamespace", True, detail)


def is_shaped(errors: Errors, spec: PodSpec, path: str) -> bool:
    """Whether what is kept as written has upstream's types, so that its rules can be asked."""
    affinity = spec.affinity or Affinity()
    found: list[tuple[Json, shapes.Shape, str]] = [
        (affinity.node_affinity, shapes_pod.NODE_AFFINITY, "affinity.nodeAffinity"),
        (affinity.pod_affinity, shapes_pod.POD_AFFINITY, "affinity.podAffinity"),
        (affinity.pod_anti_affinity, shapes_pod.POD_AFFINITY, "affinity.podAntiAffinity"),
        (spec.security_context, shapes_pod.POD_CONTEXT, "securityContext"),
        (spec.overhead, {"*": shapes.QUANTITY}, "overhead"),
    ]
    for name, listed in (
        ("initContainers", spec.init_containers),
        ("containers", spec.containers),
        ("ephemeralContainers", spec.ephemeral_containers),
    ):
        for position, container in enumerate(listed):
            at = index(name, position)
            found += (
                (container.env_from, shapes_pod.ENV_FROM, f"{at}.envFrom"),
                (container.volume_mounts, shapes_pod.MOUNTS, f"{at}.volumeMounts"),
                (container.volume_devices, shapes_pod.DEVICES, f"{at}.volumeDevices"),
                (container.security_context, shapes_pod.CONTAINER_CONTEXT, f"{at}.securityContext"),
            )
            found += [
                (variable.value_from, shapes_pod.ENV_SOURCE, index(f"{at}.env", n) + ".valueFrom")
                for n, variable in enumerate(container.env)
            ]
    return all(
        shapes.is_shaped(errors, value, shape, f"{path}.{below}") for value, shape, below in found
    )


def _numbers(errors: Errors, spec: PodSpec, path: str) -> None:
    deadline = spec.active_deadline_seconds
    if deadline is not None and not 1 <= deadline <= _MAX_INT32:
        detail = validate_names.between(1, _MAX_INT32)
        errors.invalid(f"{path}.activeDeadlineSeconds", deadline, detail)


def _names(errors: Errors, spec: PodSpec, path: str) -> None:
    for name, value in (("hostname", spec.hostname), ("subdomain", spec.subdomain)):
        if value:
            errors.each(f"{path}.{name}", value, validate_names.dns1123_label(value))
    for name, value in (
        ("nodeName", spec.node_name),
        ("serviceAccountName", spec.service_account_name),
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
            if problems:
                errors.invalid(f"{path}.operator", toleration.value, ";".join(problems))
        case "Exists":
            if toleration.value:
                detail = "value must be empty when `operator` is 'Exists'"
                errors.invalid(f"{path}.operator", toleration, detail)
        case _:
            errors.supported(f"{path}.operator", operator, ("Equal", "Exists"))
    if effect and effect not in TAINT_EFFECTS:
        errors.refuse(f"{path}.effect", effect, TAINT_EFFECTS)


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
        pair = constraint.topology_key, constraint.when_unsatisfiable
        later = spec.topology_spread_constraints[position + 1 :]
        if pair in [(other.topology_key, other.when_unsatisfiable) for other in later]:
            where = f"{at}.{{topologyKey, whenUnsatisfiable}}"
            errors.duplicate(where, f"{{{pair[0]}, {pair[1]}}}")
        for name, policy in (
            ("nodeAffinityPolicy", constraint.node_affinity_policy),
            ("nodeTaintsPolicy", constraint.node_taints_policy),
        ):
            if policy is not None:
                errors.supported(f"{at}.{name}", policy, ("Honor", "Ignore"))
        if constraint.label_selector is not None:
            selector = constraint.label_selector
            validate_meta.label_selector(errors, selector, f"{at}.labelSelector")
