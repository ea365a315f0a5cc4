"""One object in several API versions: stored in one, shown and read in the others.

Most views differ by their apiVersion only. The others are a pair of functions over plain JSON values, in the table
below. What a view has no field for is kept in an annotation or dropped exactly as upstream does.

Source: pkg/apis/autoscaling/v1/conversion.go; pkg/apis/core/v1 and events/v1 conversion; networking/v1beta1
and discovery/v1beta1 conversion.go.
"""

from collections.abc import Callable, Mapping

import orjson

from netpod.api.meta import Json
from netpod.api.registry import Resource

Data = dict[str, Json]
Convert = Callable[[Data], Data]

METRICS = "autoscaling.alpha.kubernetes.io/metrics"
BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"


def shown(resource: Resource, data: Data) -> Data:
    """A stored object as a view shows it; `data` may be changed."""
    if resource.stored is None:
        return data
    convert = _SHOW.get((resource.group, resource.version, resource.plural))
    converted = convert(data) if convert else data
    return {**converted, "apiVersion": resource.api_version}


def stored(resource: Resource, data: Data) -> Data:
    """What a view's client sent, in the form that is stored; `data` may be changed."""
    if resource.stored is None:
        return data
    convert = _STORE.get((resource.group, resource.version, resource.plural))
    converted = convert(data) if convert else data
    return {**converted, "apiVersion": resource.stored.api_version}


def _part(data: Data, name: str) -> Data:
    """A struct of the object as a copy, empty where it is absent."""
    found = data.get(name)
    return dict(found) if isinstance(found, Mapping) else {}


def _is_cpu(metric: Json) -> bool:
    return (
        isinstance(metric, Mapping)
        and metric.get("type") == "Resource"
        and (metric.get("resource") or {}).get("name") == "cpu"
        and "averageUtilization" in (metric["resource"].get("target") or {})
    )


def _hpa_shown(data: Data) -> Data:
    spec, status, metadata = (_part(data, name) for name in ("spec", "status", "metadata"))
    annotations = dict(metadata.get("annotations") or {})
    metrics = spec.pop("metrics", None) or []
    cpu = next((m for m in metrics if _is_cpu(m)), None)
    if cpu is not None:
        spec["targetCPUUtilizationPercentage"] = cpu["resource"]["target"]["averageUtilization"]
    others = [m for m in metrics if m is not cpu]
    for key, value in (
        (METRICS, others),
        (BEHAVIOR, spec.pop("behavior", None)),
        (CONDITIONS, status.pop("conditions", None)),
    ):
        if value:
            annotations[key] = orjson.dumps(value).decode()
    for metric in status.pop("currentMetrics", None) or []:
        current = (metric.get("resource") or {}).get("current") or {}
        if (metric.get("resource") or {}).get("name") == "cpu":
            if "averageUtilization" in current:
                status["currentCPUUtilizationPercentage"] = current["averageUtilization"]
    status.setdefault("currentReplicas", 0)
    if annotations:
        metadata["annotations"] = annotations
    return {**data, "metadata": metadata, "spec": spec, "status": status}


def _hpa_stored(data: Data) -> Data:
    spec, status, metadata = (_part(data, name) for name in ("spec", "status", "metadata"))
    annotations = dict(metadata.get("annotations") or {})
    metrics = _text(annotations.pop(METRICS, None)) or []
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        cpu = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
        metrics = [cpu, *metrics]
    if metrics:
        spec["metrics"] = metrics
    behavior = _text(annotations.pop(BEHAVIOR, None))
    if behavior:
        spec["behavior"] = behavior
    conditions = _text(annotations.pop(CONDITIONS, None))
    if conditions:
        status["conditions"] = conditions
    percent = status.pop("currentCPUUtilizationPercentage", None)
    if percent is not None:
        current = {"averageUtilization": percent, "averageValue": "0"}
        resource = {"name": "cpu", "current": current}
        status["currentMetrics"] = [{"type": "Resource", "resource": resource}]
    if "annotations" in metadata:
        metadata["annotations"] = annotations
    converted = {**data, "metadata": metadata, "spec": spec}
    return {**converted, "status": status} if status else converted


def _text(text: Json) -> Json:
    """JSON of an annotation, None where it is absent or is none."""
    try:
        return orjson.loads(text) if isinstance(text, str) else None
    except orjson.JSONDecodeError:
        return None


_EVENT = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
"""Fields of core/v1 Event -> events.k8s.io/v1 Event; all others have one name."""

_EVENT_BACK = {new: old for old, new in _EVENT.items()}


def _renamed(names: Mapping[str, str]) -> Convert:
    return lambda data: {names.get(name, name): value for name, value in data.items()}


def _ingress_shown(data: Data) -> Data:
    return _backends(data, _backend_shown, {"defaultBackend": "backend"})


def _ingress_stored(data: Data) -> Data:
    return _backends(data, _backend_stored, {"backend": "defaultBackend"})


def _backends(data: Data, convert: Convert, names: Mapping[str, str]) -> Data:
    spec = _part(data, "spec")
    for old, new in names.items():
        if old in spec:
            spec[new] = convert(spec.pop(old))
    if isinstance(spec.get("rules"), list):
        spec["rules"] = [_rule(rule, convert) for rule in spec["rules"]]
    return {**data, "spec": spec}


def _rule(rule: Json, convert: Convert) -> Json:
    paths = (rule.get("http") or {}).get("paths") if isinstance(rule, Mapping) else None
    if not isinstance(paths, list):
        return rule
    made = [
        {"pathType": "ImplementationSpecific", **p, "backend": convert(p.get("backend", {}))}
        if isinstance(p, Mapping)
        else p
        for p in paths
    ]
    return {**rule, "http": {**rule["http"], "paths": made}}


def _backend_shown(backend: Json) -> Json:
    service = backend.get("service") if isinstance(backend, Mapping) else None
    if not isinstance(service, Mapping):
        return backend
    port = service.get("port") or {}
    shown_port = port.get("name") or port.get("number", 0)
    return {"serviceName": service.get("name", ""), "servicePort": shown_port}


def _backend_stored(backend: Json) -> Json:
    if not isinstance(backend, Mapping) or "serviceName" not in backend:
        return backend
    port = backend.get("servicePort", 0)
    named = {"name": port} if isinstance(port, str) else {"number": port}
    return {"service": {"name": backend["serviceName"], "port": named}}


def _slice_shown(data: Data) -> Data:
    return _endpoints(data, _endpoint_shown)


def _slice_stored(data: Data) -> Data:
    return _endpoints(data, _endpoint_stored)


def _endpoints(data: Data, convert: Convert) -> Data:
    found = data.get("endpoints")
    if not isinstance(found, list):
        return data
    return {
        **data,
        "endpoints": [convert(dict(it)) if isinstance(it, Mapping) else it for it in found],
    }


def _endpoint_shown(endpoint: Data) -> Data:
    topology = dict(endpoint.pop("deprecatedTopology", None) or {})
    for field, label in ((endpoint.pop("zone", None), ZONE), (endpoint.get("nodeName"), HOSTNAME)):
        if field:
            topology[label] = field
    return {**endpoint, "topology": topology} if topology else endpoint


def _endpoint_stored(endpoint: Data) -> Data:
    topology = endpoint.pop("topology", None)
    if not isinstance(topology, Mapping):
        return endpoint if topology is None else {**endpoint, "topology": topology}
    left = dict(topology)
    if ZONE in left:
        endpoint["zone"] = left.pop(ZONE)
    # Controllers of 1.20 write no nodeName. Upstream leaves it to each reader to look at the label instead.
    if HOSTNAME in left and endpoint.get("nodeName") in (None, left[HOSTNAME]):
        endpoint["nodeName"] = left.pop(HOSTNAME)
    return {**endpoint, "deprecatedTopology": left} if left else endpoint


_HPA = ("autoscaling", "v1", "horizontalpodautoscalers")
_EVENTS = ("events.k8s.io", "v1", "events")
_INGRESSES = ("networking.k8s.io", "v1beta1", "ingresses")
_SLICES = ("discovery.k8s.io", "v1beta1", "endpointslices")

_SHOW: Mapping[tuple[str, str, str], Convert] = {
    _HPA: _hpa_shown,
    _EVENTS: _renamed(_EVENT),
    _INGRESSES: _ingress_shown,
    _SLICES: _slice_shown,
}
_STORE: Mapping[tuple[str, str, str], Convert] = {
    _HPA: _hpa_stored,
    _EVENTS: _renamed(_EVENT_BACK),
    _INGRESSES: _ingress_stored,
    _SLICES: _slice_stored,
}
