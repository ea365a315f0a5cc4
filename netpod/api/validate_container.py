"""Rules for containers: names, ports, environment, mounts, resources. Probes stand in validate_probe.py.

Source: pkg/apis/core/validation/validation.go validateContainers.
"""

from collections.abc import Mapping
from fractions import Fraction

from netpod.api import (
    quantity,
    validate_addresses,
    validate_env,
    validate_names,
    validate_probe,
    validate_security,
    validate_volume,
)
from netpod.api.meta import IntOrString
from netpod.api.pod import Container, ContainerPort, PodSpec, ResourceRequirements
from netpod.api.validate_errors import NON_NEGATIVE, Errors, index, key
from netpod.api.validate_service import protocol

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
MESSAGE_POLICIES = ("FallbackToLogsOnError", "File")
_INIT_ONLY = "may not be set for init containers without restartPolicy=Always"


def containers(
    errors: Errors, spec: PodSpec, path: str, volumes: set[str], names: set[str]
) -> None:
    """Check all containers of a spec.

    Args:
        errors: Collects what is wrong.
        spec: The spec, with defaults.
        path: Where the spec stands.
        volumes: Names of the spec's volumes.
        names: Filled with the containers' names.
    """
    if not spec.containers:
        errors.required(f"{path}.containers")
    for position, container in enumerate(spec.containers):
        at = index(f"{path}.containers", position)
        _container(errors, container, at, volumes, names, spec.host_network)
        if container.restart_policy is not None:
            errors.forbidden(f"{at}.restartPolicy", "may not be set for non-init containers")
        _probes(errors, container, at)
    for position, container in enumerate(spec.init_containers):
        at = index(f"{path}.initContainers", position)
        _container(errors, container, at, volumes, names, spec.host_network)
        if container.restart_policy is not None:
            errors.supported(f"{at}.restartPolicy", container.restart_policy, ("Always",))
        if container.restart_policy == "Always":
            _probes(errors, container, at)
            continue
        for name, value in (
            ("lifecycle", container.lifecycle),
            ("livenessProbe", container.liveness_probe),
            ("readinessProbe", container.readiness_probe),
            ("startupProbe", container.startup_probe),
        ):
            if value is not None:
                errors.forbidden(f"{at}.{name}", _INIT_ONLY)
    _host_ports(errors, spec, path)


def container(
    errors: Errors, item: Container, path: str, volumes: set[str], names: set[str]
) -> None:
    """Check one container beside those whose `names` are taken."""
    _container(errors, item, path, volumes, names, host_network=False)


def _container(
    errors: Errors,
    container: Container,
    path: str,
    volumes: set[str],
    names: set[str],
    host_network: bool,
) -> None:
    if container.name:
        problems = validate_names.dns1123_label(container.name)
        errors.each(f"{path}.name", container.name, problems)
        errors.unique(f"{path}.name", container.name, names)
    else:
        errors.required(f"{path}.name")
    if not container.image:
        errors.required(f"{path}.image")
    elif container.image != container.image.strip():
        detail = "must not have leading or trailing whitespace"
        errors.invalid(f"{path}.image", container.image, detail)
    policy = f"{path}.terminationMessagePolicy"
    errors.supported(policy, container.termination_message_policy, MESSAGE_POLICIES)
    errors.supported(f"{path}.imagePullPolicy", container.image_pull_policy, PULL_POLICIES)
    _ports(errors, container.ports, f"{path}.ports", host_network)
    validate_env.variables(errors, container, path)
    validate_volume.mounts(errors, container.volume_mounts, f"{path}.volumeMounts", volumes)
    _resources(errors, container.resources, f"{path}.resources")
    validate_security.container_context(
        errors, container.security_context, f"{path}.securityContext"
    )


def _ports(errors: Errors, ports: tuple[ContainerPort, ...], path: str, host_network: bool) -> None:
    names: set[str] = set()
    for position, port in enumerate(ports):
        at = index(path, position)
        if port.name:
            problems = validate_names.port_name(port.name)
            errors.each(f"{at}.name", port.name, problems)
            if not problems:
                errors.unique(f"{at}.name", port.name, names)
        if not port.container_port:
            errors.required(f"{at}.containerPort")
        else:
            problems = validate_names.port_number(port.container_port)
            errors.each(f"{at}.containerPort", port.container_port, problems)
        if port.host_port:
            problems = validate_names.port_number(port.host_port)
            errors.each(f"{at}.hostPort", port.host_port, problems)
            if host_network and port.host_port != port.container_port:
                detail = "must match `hostPort` when `hostNetwork` is true"
                errors.invalid(f"{at}.containerPort", port.container_port, detail)
        protocol(errors, port.protocol, f"{at}.protocol")
        if port.host_ip:
            errors.each(f"{at}.hostIP", port.host_ip, validate_addresses.address(port.host_ip))


def _host_ports(errors: Errors, spec: PodSpec, path: str) -> None:
    """Two containers of one pod cannot both have a port of the node."""
    taken: set[str] = set()
    for position, container in enumerate(spec.containers):
        for number, port in enumerate(container.ports):
            if not port.host_port:
                continue
            at = index(f"{index(f'{path}.containers', position)}.ports", number)
            name = f"{port.protocol}/{port.host_ip}/{port.host_port}"
            errors.unique(f"{at}.hostPort", name, taken)


def _resources(errors: Errors, resources: ResourceRequirements, path: str) -> None:
    limits = _amounts(errors, resources.limits, f"{path}.limits")
    requests = _amounts(errors, resources.requests, f"{path}.requests")
    for name, amount in requests.items():
        limit = limits.get(name)
        if limit is not None and amount > limit:
            shown = resources.limits[name]
            detail = f"must be less than or equal to {name} limit of {shown}"
            errors.invalid(f"{path}.requests", resources.requests[name], detail)


def _amounts(errors: Errors, amounts: Mapping[str, IntOrString], path: str) -> dict[str, Fraction]:
    """Check quantities by resource name and return those that can be read."""
    found: dict[str, Fraction] = {}
    for name, amount in amounts.items():
        at = key(path, name)
        errors.each(at, name, validate_names.qualified_name(name))
        try:
            found[name] = quantity.parse(amount)
        except ValueError as error:
            errors.unreadable(at, amount, error)
            continue
        if found[name] < 0:
            errors.invalid(at, amount, NON_NEGATIVE)
    return found


def _probes(errors: Errors, container: Container, path: str) -> None:
    validate_probe.lifecycle(errors, container.lifecycle, f"{path}.lifecycle")
    for name, probe in (
        ("livenessProbe", container.liveness_probe),
        ("readinessProbe", container.readiness_probe),
        ("startupProbe", container.startup_probe),
    ):
        if probe is not None:
            validate_probe.probe(errors, probe, f"{path}.{name}", readiness=name[0] == "r")
