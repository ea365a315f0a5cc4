"""What the server fills in."""

from typing import Any

import pytest

from netpod.api import codec, defaults, defaults_service, registry
from netpod.api.service import Service


def defaulted(api_version: str, kind: str, **fields: Any) -> dict[str, Any]:
    """Default an object twice, make sure that the second time changes nothing, and return its JSON."""
    fields.setdefault("metadata", {"name": "x"})
    obj = codec.decode_object({"apiVersion": api_version, "kind": kind, **fields})
    once = defaults.apply_defaults(obj)
    assert defaults.apply_defaults(once) == once
    return codec.encode(once)


def service(**spec: Any) -> dict[str, Any]:
    """Return a defaulted Service's spec."""
    found: dict[str, Any] = defaulted("v1", "Service", spec=spec)["spec"]
    return found


def pod(**spec: Any) -> dict[str, Any]:
    """Return a defaulted Pod's spec."""
    found: dict[str, Any] = defaulted("v1", "Pod", spec=spec)["spec"]
    return found


def container(**fields: Any) -> dict[str, Any]:
    """Return a Pod's only container, defaulted."""
    found: dict[str, Any] = pod(containers=[{"name": "c", **fields}])["containers"][0]
    return found


def test_pod_spec() -> None:
    """A pod of two lines is complete afterwards."""
    assert pod(containers=[{"name": "c", "image": "nginx"}]) == {
        "containers": [
            {
                "name": "c",
                "image": "nginx",
                "imagePullPolicy": "Always",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "enableServiceLinks": True,
    }


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.25", "IfNotPresent"),
        ("registry.example:5000/nginx", "Always"),
        ("registry.example:5000/a/nginx:2", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
        ("nginx:latest@sha256:abc", "IfNotPresent"),
    ],
)
def test_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    """A registry's port is no tag."""
    assert container(image=image)["imagePullPolicy"] == policy


def test_ports_and_probes() -> None:
    """TCP, and upstream's numbers."""
    made = container(
        ports=[{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 80}],
        readinessProbe={"httpGet": {"port": 80}, "periodSeconds": 2},
        livenessProbe={"tcpSocket": {"port": 80}, "failureThreshold": 1},
        startupProbe={"grpc": {"port": 80}},
    )
    assert [port["protocol"] for port in made["ports"]] == ["UDP", "TCP"]
    numbers = {
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    get = {"path": "/", "port": 80, "scheme": "HTTP"}
    assert made["readinessProbe"] == {**numbers, "httpGet": get, "periodSeconds": 2}
    assert made["livenessProbe"] == {**numbers, "tcpSocket": {"port": 80}, "failureThreshold": 1}
    assert made["startupProbe"] == {**numbers, "grpc": {"port": 80, "service": ""}}


def test_limits_are_requests_and_quantities_are_canonical() -> None:
    """A pod with limits alone asks for as much; `0.5` reads back as `500m`."""
    made = container(
        resources={"limits": {"cpu": "0.5", "memory": "2048Ki"}, "requests": {"cpu": 0.1}}
    )
    assert made["resources"] == {
        "limits": {"cpu": "500m", "memory": "2Mi"},
        "requests": {"cpu": "100m", "memory": "2Mi"},
    }


def test_host_network_takes_the_container_port_on_the_node() -> None:
    """With hostNetwork there is only one port space."""
    made = pod(hostNetwork=True, containers=[{"name": "c", "ports": [{"containerPort": 80}]}])
    assert made["containers"][0]["ports"] == [
        {"hostPort": 80, "containerPort": 80, "protocol": "TCP"}
    ]


def test_volumes_and_field_references() -> None:
    """A volume without a source is an emptyDir; modes and versions are filled in."""
    made = pod(
        containers=[
            {
                "name": "c",
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            }
        ],
        volumes=[
            {"name": "a"},
            {"name": "b", "configMap": {"name": "m"}},
            {"name": "c", "hostPath": {"path": "/"}},
        ],
    )
    assert made["volumes"] == [
        {"name": "a", "emptyDir": {}},
        {"name": "b", "configMap": {"defaultMode": 420, "name": "m"}},
        {"name": "c", "hostPath": {"type": "", "path": "/"}},
    ]
    reference = made["containers"][0]["env"][0]["valueFrom"]["fieldRef"]
    assert reference == {"apiVersion": "v1", "fieldPath": "status.podIP"}


def test_cluster_ip_service() -> None:
    """A Service of one port."""
    assert service(ports=[{"port": 80}]) == {
        "type": "ClusterIP",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
    }


def test_external_services() -> None:
    """Traffic policies by type."""
    assert service(type="NodePort")["externalTrafficPolicy"] == "Cluster"
    assert service(externalIPs=["1.2.3.4"])["externalTrafficPolicy"] == "Cluster"
    balancer = service(type="LoadBalancer")
    assert balancer["externalTrafficPolicy"] == "Cluster"
    assert balancer["allocateLoadBalancerNodePorts"] is True
    external = service(type="ExternalName", externalName="example.com")
    assert set(external) == {"type", "externalName", "sessionAffinity"}


def test_affinity() -> None:
    """Three hours for ClientIP; no configuration without affinity."""
    assert service(sessionAffinity="ClientIP")["sessionAffinityConfig"] == {
        "clientIP": {"timeoutSeconds": 10800}
    }
    made = service(sessionAffinityConfig={"clientIP": {"timeoutSeconds": 5}})
    assert "sessionAffinityConfig" not in made


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        (
            {
                "type": "NodePort",
                "ports": [{"port": 80, "nodePort": 30080}],
                "externalTrafficPolicy": "Cluster",
            },
            {
                "type": "ClusterIP",
                "ports": [{"port": 80, "nodePort": 30080}],
                "externalTrafficPolicy": "Cluster",
            },
            {"type": "ClusterIP", "ports": [{"port": 80}]},
        ),
        (
            {"type": "ClusterIP", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"]},
            {"type": "ExternalName", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"]},
            {"type": "ExternalName"},
        ),
        (
            {
                "type": "LoadBalancer",
                "externalTrafficPolicy": "Local",
                "healthCheckNodePort": 31000,
            },
            {"type": "NodePort", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000},
            {"type": "NodePort", "externalTrafficPolicy": "Local"},
        ),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]},
            {"type": "ClusterIP", "ports": [{"port": 80, "nodePort": 30081}]},
            {"type": "ClusterIP", "ports": [{"port": 80, "nodePort": 30081}]},
        ),
    ],
)
def test_what_a_type_cannot_have_goes_when_it_was_not_touched(
    before: dict[str, Any], after: dict[str, Any], gone: dict[str, Any]
) -> None:
    """Patching the type alone works; what an author sets stays, and is refused by validation."""
    new, old = ({"spec": spec} for spec in (after, before))
    dropped = defaults_service.drop_type_dependent(
        codec.decode(Service, new), codec.decode(Service, old)
    )
    assert codec.encode(dropped.spec) == gone


def test_workloads() -> None:
    """Deployments roll by quarters; templates are defaulted as pods are."""
    template = {"spec": {"containers": [{"name": "c"}]}}
    spec = defaulted("apps/v1", "Deployment", spec={"template": template})["spec"]
    assert spec["template"]["spec"]["restartPolicy"] == "Always"
    assert "priority" not in spec["template"]["spec"]
    del spec["template"]
    assert spec == {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
        },
    }
    zero = defaulted(
        "apps/v1", "Deployment", spec={"replicas": 0, "strategy": {"type": "Recreate"}}
    )["spec"]
    assert (zero["replicas"], zero["strategy"]) == (0, {"type": "Recreate"})
    assert defaulted("apps/v1", "ReplicaSet", spec={"template": template})["spec"]["replicas"] == 1


def test_small_kinds() -> None:
    """Names as labels, protocols, types."""
    assert defaulted("v1", "Namespace")["metadata"]["labels"] == {
        "kubernetes.io/metadata.name": "x"
    }
    assert defaulted("v1", "Secret")["type"] == "Opaque"
    assert defaulted("v1", "Node", status={"capacity": {"cpu": "2"}})["status"]["allocatable"] == {
        "cpu": "2"
    }
    subsets = [{"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 1}]}]
    assert defaulted("v1", "Endpoints", subsets=subsets)["subsets"][0]["ports"] == [
        {"port": 1, "protocol": "TCP"}
    ]
    made = defaulted("discovery.k8s.io/v1", "EndpointSlice", ports=[{"port": 1}])
    assert made["ports"] == [{"name": "", "protocol": "TCP", "port": 1}]
    made = defaulted(
        "networking.k8s.io/v1", "IngressClass", spec={"parameters": {"kind": "P", "name": "n"}}
    )
    assert made["spec"]["parameters"]["scope"] == "Cluster"


@pytest.mark.parametrize("resource", registry.RESOURCES, ids=lambda r: r.plural)
def test_every_kind_takes_defaults_when_empty(resource: registry.Resource) -> None:
    """An empty object of any kind is defaulted without error, twice with the same result."""
    defaulted(resource.api_version, resource.kind, metadata={})
