"""What Gateways and routes say of themselves, against the tables of the Gateway API."""

import base64

import pytest

from netpod.api.meta import Key
from tests.unit.ingress.certificates import make_pair
from tests.unit.ingress.gateways import GATEWAY, conditions, planned, route

GW = Key("default", "gw")
WEB = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: %s}
spec: {clusterIP: 10.96.0.9, ports: [{port: 80}]}
"""
GRANT = """
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: let, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: %s, namespace: default}]
  to: [{group: "", kind: %s%s}]
"""
SPACES = """
apiVersion: v1
kind: Namespace
metadata: {name: other, labels: {team: red}}
"""


def listening(*listeners: str) -> str:
    """The Gateway with other listeners, written as flow mappings."""
    return GATEWAY.replace("[{name: http, port: 80, protocol: HTTP}]", f"[{', '.join(listeners)}]")


@pytest.mark.parametrize(
    ("listener", "hostnames", "said"),
    [
        ("", [], "True Accepted"),
        ("hostname: a.com", ["a.com"], "True Accepted"),
        ("hostname: a.com", ["b.com"], "False NoMatchingListenerHostname"),
        ("hostname: '*.a.com'", ["x.y.a.com"], "True Accepted"),
        ("hostname: '*.a.com'", ["a.com"], "False NoMatchingListenerHostname"),
        ("hostname: x.a.com", ["*.a.com"], "True Accepted"),
        ("allowedRoutes: {namespaces: {from: All}}", [], "True Accepted"),
        ("allowedRoutes: {kinds: [{kind: TCPRoute}]}", [], "False NotAllowedByListeners"),
    ],
)
def test_route_attaches_by_hostname_and_kind(
    listener: str, hostnames: list[str], said: str
) -> None:
    """A route is accepted where a listener has a hostname in common with it and admits its kind."""
    more = f", {listener}" if listener else ""
    gateway = listening(f"{{name: http, port: 80, protocol: HTTP{more}}}")
    plan = planned(gateway, route("r", "{}", hostnames=hostnames))
    (parent,) = plan.routes[Key("default", "r")].parents
    assert conditions(parent.conditions)["Accepted"] == said
    accepted = int(said.startswith("True"))
    assert plan.gateways[GW].listeners[0].attached_routes == accepted


@pytest.mark.parametrize(
    ("namespaces", "said"),
    [
        ("{from: Same}", "False NotAllowedByListeners"),
        ("{from: All}", "True Accepted"),
        ("{from: Selector, selector: {matchLabels: {team: red}}}", "True Accepted"),
        ("{from: Selector, selector: {matchLabels: {team: blue}}}", "False NotAllowedByListeners"),
    ],
)
def test_route_of_another_namespace(namespaces: str, said: str) -> None:
    """The listener says which namespaces' routes it takes."""
    gateway = listening(
        f"{{name: http, port: 80, protocol: HTTP, allowedRoutes: {{namespaces: {namespaces}}}}}"
    )
    parents = [{"name": "gw", "namespace": "default"}]
    plan = planned(gateway, SPACES, route("r", "{}", namespace="other", parentRefs=parents))
    (parent,) = plan.routes[Key("other", "r")].parents
    assert conditions(parent.conditions)["Accepted"] == said
    assert [c.observed_generation for c in plan.gateways[GW].conditions] == [3, 3]


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ({"name": "gw", "sectionName": "http"}, "True Accepted"),
        ({"name": "gw", "sectionName": "no"}, "False NoMatchingParent"),
        ({"name": "gw", "port": 81}, "False NoMatchingParent"),
    ],
)
def test_section_and_port_choose_a_listener(ref: dict[str, object], said: str) -> None:
    """A parent that has no such listener is none."""
    plan = planned(GATEWAY, route("r", "{}", parentRefs=[ref]))
    (parent,) = plan.routes[Key("default", "r")].parents
    assert conditions(parent.conditions)["Accepted"] == said


@pytest.mark.parametrize(
    ("backend", "objects", "said"),
    [
        ("{name: web, port: 80}", WEB % "default", "True ResolvedRefs"),
        ("{name: web, port: 80}", "", "False BackendNotFound"),
        ("{name: web, port: 81}", WEB % "default", "False UnsupportedProtocol"),
        ("{name: web, kind: Pod, group: x}", "", "False InvalidKind"),
        ("{name: web, namespace: other, port: 80}", WEB % "other", "False RefNotPermitted"),
        (
            "{name: web, namespace: other, port: 80}",
            f"{WEB % 'other'}---{GRANT % ('HTTPRoute', 'Service', '')}",
            "True ResolvedRefs",
        ),
        (
            "{name: web, namespace: other, port: 80}",
            f"{WEB % 'other'}---{GRANT % ('HTTPRoute', 'Service', ', name: db')}",
            "False RefNotPermitted",
        ),
        (
            "{name: web, namespace: other, port: 80}",
            f"{WEB % 'other'}---{GRANT % ('Gateway', 'Service', '')}",
            "False RefNotPermitted",
        ),
    ],
)
def test_backend_must_exist_and_be_permitted(backend: str, objects: str, said: str) -> None:
    """What leads nowhere is said on the route, which stays attached, and answered with 500."""
    texts = [objects] if objects else []
    plan = planned(GATEWAY, *texts, route("r", f"{{backendRefs: [{backend}]}}"))
    (parent,) = plan.routes[Key("default", "r")].parents
    assert conditions(parent.conditions)["ResolvedRefs"] == said
    assert conditions(parent.conditions)["Accepted"] == "True Accepted"
    (match,) = plan.frontends[0].sites[0].matches
    assert (match.outcomes[0].target is not None) is said.startswith("True")


def test_filter_that_is_not_served_drops_its_rule() -> None:
    """One rule dropped is PartiallyInvalid; when none is left the route is not accepted."""
    mirror = "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: x, port: 1}}}]}"
    plan = planned(GATEWAY, route("some", mirror, "{}"), route("all", mirror))
    said = {key.name: conditions(s.parents[0].conditions) for key, s in plan.routes.items()}
    assert said["some"]["Accepted"] == "True Accepted"
    assert said["some"]["PartiallyInvalid"] == "True UnsupportedValue"
    assert said["all"]["Accepted"] == "False UnsupportedValue"
    assert {m.route.name for m in plan.frontends[0].sites[0].matches} == {"some"}


HTTP = "{name: http, port: 80, protocol: HTTP}"
SECRET = """
apiVersion: v1
kind: Secret
metadata: {name: cert, namespace: %s}
type: kubernetes.io/tls
data: {tls.crt: %s, tls.key: %s}
"""


def _https(namespace: str = "default") -> str:
    ref = f"{{name: cert, namespace: {namespace}}}"
    return f"{{name: s, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{ref}]}}}}"


def _secret(namespace: str) -> str:
    crt, key = (base64.b64encode(part.encode()).decode() for part in make_pair("a.com"))
    return SECRET % (namespace, crt, key)


@pytest.mark.parametrize(
    ("listener", "objects", "accepted", "resolved"),
    [
        (HTTP, "", "True Accepted", "True ResolvedRefs"),
        (
            "{name: x, port: 53, protocol: UDP}",
            "",
            "False UnsupportedProtocol",
            "True ResolvedRefs",
        ),
        (_https(), "", "True Accepted", "False InvalidCertificateRef"),
        (_https(), _secret("default"), "True Accepted", "True ResolvedRefs"),
        (_https("other"), _secret("other"), "True Accepted", "False RefNotPermitted"),
        (
            _https("other"),
            f"{_secret('other')}---{GRANT % ('Gateway', 'Secret', '')}",
            "True Accepted",
            "True ResolvedRefs",
        ),
        (
            "{name: k, port: 80, protocol: HTTP, allowedRoutes: {kinds: [{kind: X}, {kind: HTTPRoute}]}}",
            "",
            "True Accepted",
            "False InvalidRouteKinds",
        ),
    ],
)
def test_listener_conditions(listener: str, objects: str, accepted: str, resolved: str) -> None:
    """A listener that cannot be served is not programmed, and the Gateway says so."""
    plan = planned(listening(listener), *([objects] if objects else []))
    status = plan.gateways[GW]
    said = conditions(status.listeners[0].conditions)
    assert (said["Accepted"], said["ResolvedRefs"]) == (accepted, resolved)
    served = accepted.startswith("True") and resolved.split()[1] in (
        "ResolvedRefs",
        "InvalidRouteKinds",
    )
    assert said["Programmed"] == ("True Programmed" if served else "False Invalid")
    assert len(plan.frontends) == served
    words = "True Accepted" if served else "False ListenersNotValid"
    assert conditions(status.conditions)["Accepted"] == words


def test_listeners_in_each_others_way() -> None:
    """Of two protocols on one port the first is served; the Gateway stays accepted."""
    tls = "tls: {certificateRefs: [{name: cert}]}"
    other = f"{{name: s, port: 80, protocol: HTTPS, {tls}}}"
    status = planned(listening(HTTP, other)).gateways[GW]
    said = [conditions(one.conditions)["Conflicted"] for one in status.listeners]
    assert said == ["False NoConflicts", "True ProtocolConflict"]
    assert conditions(status.conditions)["Accepted"] == "True ListenersNotValid"


def test_gateway_is_programmed_when_its_service_has_an_address() -> None:
    """The Service's load balancer is the Gateway's address; binds are kept across restarts."""
    first = planned(GATEWAY)
    assert conditions(first.gateways[GW].conditions)["Programmed"] == "False AddressNotAssigned"
    (service,) = first.services.values()
    assert service.spec.selector == {"app": "ingress"}
    text = f"""
apiVersion: v1
kind: Service
metadata: {{name: {service.metadata.name}, namespace: kube-system, labels: {service.metadata.labels}}}
spec: {{type: LoadBalancer, ports: [{{port: 80, targetPort: 10007}}]}}
status: {{loadBalancer: {{ingress: [{{ip: 198.51.100.7}}]}}}}
"""
    again = planned(GATEWAY, text)
    status = again.gateways[GW]
    assert [a.value for a in status.addresses] == ["198.51.100.7"]
    assert conditions(status.conditions)["Programmed"] == "True Programmed"
    assert again.binds == {(GW, 80): 10007}


def test_other_controllers_classes_and_words_are_left_alone() -> None:
    """A Gateway of another class is not ours, nor is what its controller wrote on a route."""
    foreign = GATEWAY.replace("gatewayClassName: netpod", "gatewayClassName: other")
    assert not planned(foreign).gateways
    theirs = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec: {parentRefs: [{name: gw}]}
status: {parents: [{controllerName: other.io/x, parentRef: {name: gw}, conditions: []}]}
"""
    parents = planned(GATEWAY, theirs).routes[Key("default", "r")].parents
    assert [p.controller_name for p in parents] == ["other.io/x", "netpod.dev/gateway"]
