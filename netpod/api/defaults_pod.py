"""Defaults of pods and pod templates.

Source: pkg/apis/core/v1/defaults.go.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from netpod.api import memo, quantity
from netpod.api.meta import IntOrString, Struct
from netpod.api.pod import (
    Container,
    EnvVar,
    GRPCAction,
    HTTPGetAction,
    Lifecycle,
    LifecycleHandler,
    Pod,
    PodSpec,
    Probe,
    ResourceRequirements,
    Volume,
)
from netpod.api.structs import replace

S = TypeVar("S", bound=Struct)
C = TypeVar("C", bound=Container)

_FILE_MODE = 0o644
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN = (
    r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9.-]+:\d+|\[[0-9a-fA-F:]+\](?::\d+)?)"
)
_IMAGE = re.compile(rf"(?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TOKEN_SECONDS = 60 * 60
_VOLUME_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "configMap": {"defaultMode": _FILE_MODE},
    "secret": {"defaultMode": _FILE_MODE},
    "downwardAPI": {"defaultMode": _FILE_MODE},
    "projected": {"defaultMode": _FILE_MODE},
    "hostPath": {"type": ""},
}


def fill(struct: S, **defaults: Any) -> S:
    """Return the struct with each of `defaults` where it holds "" or None."""
    missing = {
        name: value
        for name, value in defaults.items()
        if (held := getattr(struct, name)) is None or held == ""
    }
    return replace(struct, **missing) if missing else struct


def _fill_zero(struct: S, **defaults: int) -> S:
    missing: dict[str, Any] = {n: v for n, v in defaults.items() if not getattr(struct, n)}
    return replace(struct, **missing) if missing else struct


def pod_defaults(pod: Pod) -> Pod:
    """Return the pod with defaults and requests taken from limits; its priority comes from the API server."""
    return replace(pod, spec=_pod_spec(pod.spec))


@memo.by_identity
def _pod_spec(spec: PodSpec) -> PodSpec:
    spec = spec_defaults(spec)
    return replace(
        fill(
            spec,
            enable_service_links=True,
        ),
        containers=tuple(_requests(container) for container in spec.containers),
        init_containers=tuple(_requests(container) for container in spec.init_containers),
    )


@memo.by_identity
def spec_defaults(spec: PodSpec) -> PodSpec:
    """Return the spec of a pod or template with defaults."""
    spec = fill(
        spec,
        dns_policy="ClusterFirst",
        restart_policy="Always",
        security_context={},
        termination_grace_period_seconds=30,
        scheduler_name="default-scheduler",
        service_account=spec.service_account_name,
        service_account_name=spec.service_account,
    )
    if (spec.termination_grace_period_seconds or 0) < 0:
        # Upstream keeps it so and waits a second.
        spec = replace(spec, termination_grace_period_seconds=1)
    return replace(
        spec,
        volumes=tuple(_volume(volume) for volume in spec.volumes),
        containers=tuple(_container(c, spec.host_network) for c in spec.containers),
        init_containers=tuple(_container(c, spec.host_network) for c in spec.init_containers),
        ephemeral_containers=tuple(
            _container(c, spec.host_network) for c in spec.ephemeral_containers
        ),
    )


def _volume(volume: Volume) -> Volume:
    if not volume.unknown:
        return replace(volume, unknown={"emptyDir": {}})
    sources = {
        name: _source(name, source) if isinstance(source, Mapping) else source
        for name, source in volume.unknown.items()
    }
    return volume if sources == volume.unknown else replace(volume, unknown=sources)


def _source(name: str, source: Mapping[str, Any]) -> Mapping[str, Any]:
    source = {**_VOLUME_DEFAULTS.get(name, {}), **source}
    if name == "downwardAPI":
        return _downward(source)
    if name == "projected":
        listed = source.get("sources")
        return {**source, "sources": [_projection(it) for it in listed]} if listed else source
    return source


def _projection(projection: Any) -> Any:
    if not isinstance(projection, Mapping):
        return projection
    found = dict(projection)
    token = found.get("serviceAccountToken")
    if isinstance(token, Mapping):
        found["serviceAccountToken"] = {"expirationSeconds": _TOKEN_SECONDS, **token}
    if isinstance(found.get("downwardAPI"), Mapping):
        found["downwardAPI"] = _downward(found["downwardAPI"])
    return found


def _downward(source: Mapping[str, Any]) -> Mapping[str, Any]:
    items = source.get("items")
    if not isinstance(items, list):
        return source
    return {**source, "items": [_references(item) for item in items]}


def _references(holder: Any) -> Any:
    """Fill in the version of a field and the divisor of an amount that are referred to."""
    if not isinstance(holder, Mapping):
        return holder
    found = dict(holder)
    for name, filled in (("fieldRef", "apiVersion"), ("resourceFieldRef", "divisor")):
        reference = found.get(name)
        if isinstance(reference, Mapping) and not reference.get(filled):
            value = "v1" if name == "fieldRef" else "0"
            found[name] = {**reference, filled: value}
    return found


def _container(container: C, host_network: bool) -> C:
    container = fill(
        container,
        termination_message_path="/dev/termination-log",
        termination_message_policy="File",
        image_pull_policy=_pull_policy(container.image),
    )
    ports = tuple(fill(port, protocol="TCP") for port in container.ports)
    if host_network:
        ports = tuple(_fill_zero(port, host_port=port.container_port) for port in ports)
    return replace(
        container,
        ports=ports,
        env=tuple(_env(variable) for variable in container.env),
        resources=replace(
            container.resources,
            limits=canonical(container.resources.limits),
            requests=canonical(container.resources.requests),
        ),
        liveness_probe=_probe(container.liveness_probe),
        readiness_probe=_probe(container.readiness_probe),
        startup_probe=_probe(container.startup_probe),
        lifecycle=_lifecycle(container.lifecycle),
    )


def _pull_policy(image: str) -> str:
    """Return Always for `latest` or no tag, IfNotPresent for any other tag, a digest, or what is no image's name."""
    name, at, _ = image.partition("@")
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, ""
    latest = not at and tag in ("", "latest")
    return (
        "Always"
        if latest and len(repository) <= 255 and _IMAGE.fullmatch(repository)
        else "IfNotPresent"
    )


def _env(variable: EnvVar) -> EnvVar:
    source = _references(variable.value_from)
    return variable if source == variable.value_from else replace(variable, value_from=source)


def _probe(probe: Probe | None) -> Probe | None:
    if probe is None:
        return None
    probe = _fill_zero(
        probe, timeout_seconds=1, period_seconds=10, success_threshold=1, failure_threshold=3
    )
    grpc: GRPCAction | None = fill(probe.grpc, service="") if probe.grpc else None
    return replace(probe, http_get=_http_get(probe.http_get), grpc=grpc)


def _http_get(action: HTTPGetAction | None) -> HTTPGetAction | None:
    return fill(action, path="/", scheme="HTTP") if action else None


def _lifecycle(lifecycle: Lifecycle | None) -> Lifecycle | None:
    if lifecycle is None:
        return None
    return replace(
        lifecycle,
        post_start=_handler(lifecycle.post_start),
        pre_stop=_handler(lifecycle.pre_stop),
    )


def _handler(handler: LifecycleHandler | None) -> LifecycleHandler | None:
    return replace(handler, http_get=_http_get(handler.http_get)) if handler else None


def _requests(container: Container) -> Container:
    """A limit without a request is also the request."""
    resources: ResourceRequirements = container.resources
    if all(name in resources.requests for name in resources.limits):
        return container
    requests = {**resources.limits, **resources.requests}
    return replace(container, resources=replace(resources, requests=requests))


def canonical(amounts: Mapping[str, IntOrString]) -> Mapping[str, IntOrString]:
    """Return the quantities in canonical text; what is no quantity stays for validation to refuse."""
    found: dict[str, IntOrString] = {}
    for name, amount in amounts.items():
        try:
            found[name] = quantity.canonical(amount)
        except ValueError:
            found[name] = amount
    return amounts if found == amounts else found
