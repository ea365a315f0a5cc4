"""What `netpod describe` says of each kind: kubectl's layout, kubectl's words."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from netpod.client.blocking import BlockingClient
from netpod.errors import NotFound
from netpod.ip import host_port
from netpod_cli import output
from netpod_cli.context import Target

Obj = dict[str, Any]
Lines = list[tuple[int, str, str]]
"""(indentation, label, value); a label without value opens a section."""


def describe(api: BlockingClient, target: Target, obj: Obj) -> str:
    """Return the description of one object."""
    meta = obj["metadata"]
    lines: Lines = [(0, "Name:", meta["name"])]
    if target.resource.namespaced:
        lines.append((0, "Namespace:", meta["namespace"]))
    lines += _multi("Labels:", [f"{k}={v}" for k, v in sorted(meta.get("labels", {}).items())])
    lines += _multi(
        "Annotations:",
        [
            f"{k}: {v}"
            for k, v in sorted(meta.get("annotations", {}).items())
            if "last-applied" not in k
        ],
    )
    lines.append((0, "CreationTimestamp:", meta.get("creationTimestamp", "")))
    if "deletionTimestamp" in meta:
        lines.append((0, "Deletion:", f"since {meta['deletionTimestamp']}"))
    lines += _owners(meta)
    special = _KINDS.get(target.resource.kind)
    lines += special(api, obj) if special else _plain(obj)
    return _layout(lines) + "\n" + _events(api, target, obj)


def _multi(label: str, values: Sequence[str]) -> Lines:
    first, *rest = values or ("<none>",)
    return [(0, label, first), *((0, "", value) for value in rest)]


def _owners(meta: Obj) -> Lines:
    owner = next((o for o in meta.get("ownerReferences", ()) if o.get("controller")), None)
    return [(0, "Controlled By:", f"{owner['kind']}/{owner['name']}")] if owner else []


def _layout(lines: Lines) -> str:
    width = max((len(label) + 2 * indent for indent, label, value in lines if value), default=0) + 2
    out = []
    for indent, label, value in lines:
        head = "  " * indent + label
        out.append(f"{head.ljust(width)}{value}".rstrip() if value or not label else head)
    return "\n".join(out)


def _pod(api: BlockingClient, obj: Obj) -> Lines:
    spec, status = obj["spec"], obj.get("status", {})
    lines: Lines = [
        (0, "Node:", f"{spec.get('nodeName', '<none>')}/{status.get('hostIP', '')}"),
        (0, "Start Time:", status.get("startTime", "")),
        (0, "Status:", status.get("phase", "")),
        (0, "Reason:", status.get("reason", "")),
        (0, "IP:", status.get("podIP", "")),
        (0, "Containers:", ""),
    ]
    lines = [line for line in lines if line[2] or line[1] == "Containers:"]
    states = {s["name"]: s for s in status.get("containerStatuses", ())}
    for container in spec["containers"]:
        lines += _container(container, states.get(container["name"], {}))
    lines.append((0, "Conditions:", ""))
    lines += [(1, c["type"], c["status"]) for c in status.get("conditions", ())]
    lines.append((0, "QoS Class:", status.get("qosClass", "")))
    tolerations = [_toleration(t) for t in spec.get("tolerations", ())]
    return lines + _multi("Tolerations:", tolerations)


def _container(container: Obj, status: Obj) -> Lines:
    ports = ", ".join(
        f"{p['containerPort']}/{p.get('protocol', 'TCP')}" for p in container.get("ports", ())
    )
    lines: Lines = [
        (1, f"{container['name']}:", ""),
        (2, "Container ID:", status.get("containerID", "")),
        (2, "Image:", container.get("image", "")),
        (2, "Ports:", ports or "<none>"),
        *_state("State:", status.get("state", {})),
        *(_state("Last State:", status["lastState"]) if status.get("lastState") else []),
        (2, "Ready:", str(status.get("ready", False))),
        (2, "Restart Count:", str(status.get("restartCount", 0))),
    ]
    for name in ("liveness", "readiness", "startup"):
        if f"{name}Probe" in container:
            lines.append((2, f"{name.capitalize()}:", _probe(container[f"{name}Probe"])))
    for variable in container.get("env", ()):
        lines.append((2, f"Environment {variable['name']}:", variable.get("value", "<set>")))
    return lines


def _state(label: str, state: Mapping[str, Any]) -> Lines:
    kind: str
    detail: Mapping[str, Any]
    kind, detail = next(iter(state.items()), ("waiting", {"reason": ""}))
    lines: Lines = [(2, label, kind.capitalize())]
    names = {
        "startedAt": "Started:",
        "finishedAt": "Finished:",
        "reason": "Reason:",
        "exitCode": "Exit Code:",
    }
    names["message"] = "Message:"
    return lines + [(3, title, str(detail[key])) for key, title in names.items() if key in detail]


def _probe(probe: Obj) -> str:
    if "httpGet" in probe:
        get = probe["httpGet"]
        how = f"http-get {get.get('scheme', 'HTTP').lower()}://:{get['port']}{get.get('path', '/')}"
    elif "tcpSocket" in probe:
        how = f"tcp-socket :{probe['tcpSocket']['port']}"
    else:
        how = f"exec {probe.get('exec', {}).get('command', [])}"
    return (
        f"{how} delay={probe.get('initialDelaySeconds', 0)}s timeout={probe.get('timeoutSeconds', 1)}s "
        f"period={probe.get('periodSeconds', 10)}s #success={probe.get('successThreshold', 1)} "
        f"#failure={probe.get('failureThreshold', 3)}"
    )


def _toleration(toleration: Obj) -> str:
    text: str = toleration.get("key", "")
    if toleration.get("value"):
        text += f"={toleration['value']}"
    if toleration.get("effect"):
        text += f":{toleration['effect']}"
    if toleration.get("operator") == "Exists":
        text += " op=Exists"
    if "tolerationSeconds" in toleration:
        text += f" for {toleration['tolerationSeconds']}s"
    return text


def _service(api: BlockingClient, obj: Obj) -> Lines:
    spec = obj["spec"]
    selector = ",".join(f"{k}={v}" for k, v in sorted(spec.get("selector", {}).items()))
    lines: Lines = [
        (0, "Selector:", selector or "<none>"),
        (0, "Type:", spec.get("type", "")),
        (0, "IP Family Policy:", spec.get("ipFamilyPolicy", "")),
        (0, "IP Families:", ",".join(spec.get("ipFamilies", ()))),
        (0, "IP:", spec.get("clusterIP", "")),
        (0, "IPs:", ",".join(spec.get("clusterIPs", ()))),
        (0, "External IPs:", ",".join(spec.get("externalIPs", ()))),
        (0, "LoadBalancer Ingress:", ", ".join(_ingress_points(obj))),
    ]
    try:
        endpoints = api.request(
            "GET",
            f"/api/v1/namespaces/{obj['metadata']['namespace']}/endpoints/{obj['metadata']['name']}",
        )
    except NotFound:
        endpoints = {}
    for port in spec.get("ports", ()):
        name, protocol = port.get("name") or "<unset>", port.get("protocol", "TCP")
        lines.append((0, "Port:", f"{name}  {port['port']}/{protocol}"))
        lines.append((0, "TargetPort:", f"{port.get('targetPort', port['port'])}/{protocol}"))
        if port.get("nodePort"):
            lines.append((0, "NodePort:", f"{name}  {port['nodePort']}/{protocol}"))
        lines.append((0, "Endpoints:", _addresses(endpoints, port.get("name", "")) or "<none>"))
    lines.append((0, "Session Affinity:", spec.get("sessionAffinity", "None")))
    lines.append((0, "External Traffic Policy:", spec.get("externalTrafficPolicy", "")))
    return [line for line in lines if line[2]]


def _addresses(endpoints: Obj, port_name: str) -> str:
    return ",".join(
        host_port(address["ip"], port["port"])
        for subset in endpoints.get("subsets") or ()
        for port in subset.get("ports", ())
        if port.get("name", "") == port_name
        for address in subset.get("addresses", ())
    )


def _ingress_points(obj: Obj) -> list[str]:
    points = obj.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    return [point.get("ip") or point.get("hostname", "") for point in points]


def _ingress(api: BlockingClient, obj: Obj) -> Lines:
    spec, namespace = obj["spec"], obj["metadata"]["namespace"]
    default = spec.get("defaultBackend")
    lines: Lines = [
        (0, "Ingress Class:", spec.get("ingressClassName") or "<none>"),
        (0, "Address:", ", ".join(_ingress_points(obj))),
        (0, "Default backend:", _backend(api, namespace, default) if default else "<default>"),
        (0, "Rules:", ""),
    ]
    for rule in spec.get("rules", ()):
        lines.append((1, rule.get("host") or "*", ""))
        for path in rule.get("http", {}).get("paths", ()):
            shown = f"{path.get('path') or '/'} ({path.get('pathType')})"
            lines.append((2, shown, _backend(api, namespace, path["backend"])))
    return lines


def _backend(api: BlockingClient, namespace: str, backend: Obj) -> str:
    service = backend.get("service")
    if not service:
        return str(backend.get("resource"))
    port = service.get("port", {})
    text = f"{service['name']}:{port.get('name') or port.get('number')}"
    try:
        endpoints = api.request(
            "GET", f"/api/v1/namespaces/{namespace}/endpoints/{service['name']}"
        )
    except NotFound:
        return f'{text} (<error: endpoints "{service["name"]}" not found>)'
    subsets = endpoints.get("subsets") or ()
    found = [
        f"{a['ip']}:{p['port']}"
        for s in subsets
        for p in s.get("ports", ())
        for a in s.get("addresses", ())
    ]
    return f"{text} ({','.join(found)})"


def _deployment(api: BlockingClient, obj: Obj) -> Lines:
    spec, status = obj["spec"], obj.get("status", {})
    strategy = spec.get("strategy", {})
    rolling = strategy.get("rollingUpdate", {})
    counts = (
        f"{spec.get('replicas', 1)} desired | {status.get('updatedReplicas', 0)} updated | "
        f"{status.get('replicas', 0)} total | {status.get('availableReplicas', 0)} available | "
        f"{status.get('unavailableReplicas', 0)} unavailable"
    )
    lines: Lines = [
        (0, "Selector:", _selector(spec)),
        (0, "Replicas:", counts),
        (0, "StrategyType:", strategy.get("type", "")),
    ]
    if rolling:
        lines.append(
            (
                0,
                "RollingUpdateStrategy:",
                f"{rolling.get('maxUnavailable')} max unavailable, {rolling.get('maxSurge')} max surge",
            )
        )
    return lines + _template(spec) + _conditions(status)


def _replicaset(api: BlockingClient, obj: Obj) -> Lines:
    spec, status = obj["spec"], obj.get("status", {})
    return [
        (0, "Selector:", _selector(spec)),
        (
            0,
            "Replicas:",
            f"{status.get('replicas', 0)} current / {spec.get('replicas', 1)} desired",
        ),
        *_template(spec),
    ]


def _selector(spec: Obj) -> str:
    labels = spec.get("selector", {}).get("matchLabels", {})
    return ",".join(f"{k}={v}" for k, v in sorted(labels.items()))


def _template(spec: Obj) -> Lines:
    lines: Lines = [(0, "Pod Template:", "")]
    for container in spec["template"]["spec"]["containers"]:
        ports = ", ".join(str(p["containerPort"]) for p in container.get("ports", ()))
        lines += [
            (1, f"{container['name']}:", ""),
            (2, "Image:", container["image"]),
            (2, "Ports:", ports or "<none>"),
        ]
    return lines


def _conditions(status: Obj) -> Lines:
    lines: Lines = [(0, "Conditions:", "")]
    return lines + [
        (1, c["type"], f"{c['status']}  {c.get('reason', '')}  {c.get('message', '')}")
        for c in status.get("conditions", ())
    ]


def _node(api: BlockingClient, obj: Obj) -> Lines:
    spec, status, name = obj["spec"], obj.get("status", {}), obj["metadata"]["name"]
    taints = [
        f"{t['key']}{'=' + t['value'] if t.get('value') else ''}:{t['effect']}"
        for t in spec.get("taints", ())
    ]
    lines = _multi("Taints:", taints)
    lines += [
        (0, "Unschedulable:", str(spec.get("unschedulable", False)).lower()),
        *_conditions(status),
    ]
    lines.append((0, "Addresses:", ""))
    lines += [(1, f"{a['type']}:", a["address"]) for a in status.get("addresses", ())]
    lines.append((0, "Capacity:", ""))
    lines += [(1, f"{k}:", str(v)) for k, v in sorted(status.get("capacity", {}).items())]
    lines.append((0, "System Info:", ""))
    lines += [(1, f"{k}:", str(v)) for k, v in sorted(status.get("nodeInfo", {}).items()) if v]
    lines.append((0, "PodCIDR:", spec.get("podCIDR", "")))
    pods = api.request("GET", "/api/v1/pods", query={"fieldSelector": f"spec.nodeName={name}"})[
        "items"
    ]
    lines.append((0, "Non-terminated Pods:", f"({len(pods)} in total)"))
    return lines + [
        (1, f"{p['metadata']['namespace']}/{p['metadata']['name']}", p["status"].get("podIP", ""))
        for p in pods
    ]


def _plain(obj: Obj) -> Lines:
    """Any other kind: its fields as YAML."""
    lines: Lines = []
    for name, value in obj.items():
        if name in ("apiVersion", "kind", "metadata"):
            continue
        lines.append((0, f"{name[0].upper()}{name[1:]}:", ""))
        lines += [(1, line, "") for line in output.dump(value, "yaml").splitlines()]
    return lines


def _configmap(api: BlockingClient, obj: Obj) -> Lines:
    lines: Lines = [(0, "Data", "")]
    for key, value in sorted(obj.get("data", {}).items()):
        lines += [(0, f"{key}:", ""), *((0, line, "") for line in value.splitlines())]
    return lines


def _secret(api: BlockingClient, obj: Obj) -> Lines:
    data = obj.get("data", {})
    lines: Lines = [(0, "Type:", obj.get("type", "")), (0, "Data", "")]
    return lines + [
        (0, f"{key}:", f"{len(value) * 3 // 4 - value.count('=')} bytes")
        for key, value in sorted(data.items())
    ]


_KINDS: dict[str, Callable[[BlockingClient, Obj], Lines]] = {
    "Pod": _pod,
    "Service": _service,
    "Ingress": _ingress,
    "Deployment": _deployment,
    "ReplicaSet": _replicaset,
    "Node": _node,
    "ConfigMap": _configmap,
    "Secret": _secret,
}


def _events(api: BlockingClient, target: Target, obj: Obj) -> str:
    meta = obj["metadata"]
    selector = f"involvedObject.kind={target.resource.kind},involvedObject.name={meta['name']}"
    path = "/api/v1/events"
    if target.resource.namespaced:
        path = f"/api/v1/namespaces/{meta['namespace']}/events"
    events = api.request("GET", path, query={"fieldSelector": selector})["items"]
    events = [
        e for e in events if e["involvedObject"].get("uid") in ("", None, meta["uid"], meta["name"])
    ]
    if not events:
        return "Events:  <none>"
    events.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    rows = [
        ("Type", "Reason", "Age", "From", "Message"),
        ("----", "------", "----", "----", "-------"),
    ]
    for event in events:
        times = f" (x{event['count']})" if event.get("count", 1) > 1 else ""
        source = event.get("source", {}).get("component") or event.get("reportingComponent", "")
        rows.append(
            (event["type"], event["reason"], _age(event) + times, source, event["message"].strip())
        )
    return "Events:\n" + "\n".join(f"  {line}" for line in output.columns(rows).splitlines())


def _age(event: Obj) -> str:
    moment = event.get("lastTimestamp") or event.get("eventTime")
    if not moment:
        return "<unknown>"
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(0, seconds)}s"
