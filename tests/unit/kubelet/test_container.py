"""Which program runs for a container, and with what."""

import asyncio
from pathlib import Path

import pytest

from netpod.api.cri import Resources
from netpod.api.meta import ObjectMeta
from netpod.api.pod import (
    Container,
    ContainerPort,
    EnvVar,
    HTTPGetAction,
    Pod,
    PodSpec,
    Probe,
    ResourceRequirements,
    TCPSocketAction,
)
from netpod.api.service import Service, ServicePort, ServiceSpec
from netpod.client.rest import Client
from netpod.kubelet import container as containers
from netpod.kubelet import env, report
from netpod.kubelet.container import Program
from netpod.kubelet.refusal import CannotStart


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("nginx", "nginx"),
        ("nginx:1.27", "nginx"),
        ("registry.example:5000/a/b", "registry.example:5000/a/b"),
        ("registry.example:5000/a/b:v1@sha256:00", "registry.example:5000/a/b"),
    ],
)
def test_repository_has_no_tag(image: str, name: str) -> None:
    """A colon before the last slash is a port, not a tag."""
    assert containers.repository(image) == name


def chosen(image: str, *, stand_in: bool = True, completes: bool = False) -> Program:
    """What runs for an image."""
    return containers.choose(
        Container(name="c", image=image), stand_in=stand_in, completes=completes
    )


def test_built_in_images_are_no_stand_ins() -> None:
    """Whatever their tag; also where nothing is stood in for."""
    assert chosen("netpod.dev/dns:v1", stand_in=False) == Program("netpod.dev/dns", False)


def test_an_absent_image_is_stood_in_for() -> None:
    """By the echo server, or by something that ends if it is an init container."""
    assert chosen("nginx") == Program("netpod.dev/echo", True)
    assert chosen("nginx", completes=True) == Program("netpod.dev/complete", True)


@pytest.mark.parametrize(
    ("image", "reason"), [("nginx", "ErrImagePull"), ("netpod.dev/host", "CreateContainerError")]
)
def test_what_cannot_run_says_why(image: str, reason: str) -> None:
    """The waiting reason is upstream's."""
    with pytest.raises(CannotStart) as caught:
        chosen(image, stand_in=False)
    assert caught.value.reason == reason


def test_a_stand_in_listens_where_its_probes_ask() -> None:
    """Also on ports nobody declared; protocol defaults to TCP."""
    container = Container(
        name="c",
        ports=(ContainerPort(name="http", container_port=80),),
        readiness_probe=Probe(http_get=HTTPGetAction(port="http")),
        liveness_probe=Probe(tcp_socket=TCPSocketAction(port=9000)),
    )
    found = containers.ports(container, Program("netpod.dev/echo", True))
    assert [(it.container_port, it.protocol) for it in found] == [(80, "TCP"), (9000, "TCP")]
    assert len(containers.ports(container, Program("netpod.dev/dns", False))) == 1


def test_expansion_leaves_unknown_names() -> None:
    """$(NAME) is replaced, $$ is a dollar sign, the rest stays as written."""
    assert env.expand("$(A)-$$(A)-$(B)-$A", {"A": "1"}) == "1-$(A)-$(B)-$A"


def test_environment_from_fields() -> None:
    """The downward API gives the pod's facts, and later variables see earlier ones."""
    variables = (
        EnvVar(name="IP", value_from={"fieldRef": {"fieldPath": "status.podIP"}}),
        EnvVar(name="APP", value_from={"fieldRef": {"fieldPath": "metadata.labels['app']"}}),
        EnvVar(name="URL", value="http://$(IP)/"),
    )
    container = Container(name="c", env=variables)
    pod = Pod(
        metadata=ObjectMeta(name="p", namespace="d", labels={"app": "web"}),
        spec=PodSpec(containers=(container,)),
    )

    class NoServices(env.Services):
        async def of(self, namespace: str, version: str = "") -> tuple[Service, ...]:
            return ()

    client = Client.unix(Path("/nowhere"))
    found = asyncio.run(
        env.compile(
            client,
            NoServices(client),
            pod,
            container,
            hostname="p",
            pod_ips=["10.1.1.1"],
            host_ips=["172.18.0.3"],
        )
    )
    assert found == {"HOSTNAME": "p", "IP": "10.1.1.1", "APP": "web", "URL": "http://10.1.1.1/"}


def test_another_spec_is_another_hash() -> None:
    """So that the container is started anew."""
    one, two = Container(name="c", image="a"), Container(name="c", image="b")
    assert containers.spec_hash(one) != containers.spec_hash(two)
    assert containers.spec_hash(one) == containers.spec_hash(Container(name="c", image="a"))


def test_a_status_patch_has_only_the_difference() -> None:
    """What is equal is left out, what is gone becomes null."""
    assert report.difference({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 4}) == {"b": 4, "c": None}


def test_services_are_told_by_name() -> None:
    """NAME_SERVICE_HOST and _PORT, and Docker's links; nothing of headless ones."""
    ports = (ServicePort(name="http", port=80), ServicePort(name="x-y", port=53, protocol="UDP"))
    spec = ServiceSpec(cluster_ip="10.96.0.7", ports=ports)
    service = Service(metadata=ObjectMeta(name="my-web"), spec=spec)
    headless = Service(
        metadata=ObjectMeta(name="h"), spec=ServiceSpec(cluster_ip="None", ports=ports)
    )
    assert env.service_variables([service, headless]) == {
        "MY_WEB_SERVICE_HOST": "10.96.0.7",
        "MY_WEB_SERVICE_PORT": "80",
        "MY_WEB_SERVICE_PORT_HTTP": "80",
        "MY_WEB_SERVICE_PORT_X_Y": "53",
        "MY_WEB_PORT": "tcp://10.96.0.7:80",
        "MY_WEB_PORT_80_TCP": "tcp://10.96.0.7:80",
        "MY_WEB_PORT_80_TCP_PROTO": "tcp",
        "MY_WEB_PORT_80_TCP_PORT": "80",
        "MY_WEB_PORT_80_TCP_ADDR": "10.96.0.7",
        "MY_WEB_PORT_53_UDP": "udp://10.96.0.7:53",
        "MY_WEB_PORT_53_UDP_PROTO": "udp",
        "MY_WEB_PORT_53_UDP_PORT": "53",
        "MY_WEB_PORT_53_UDP_ADDR": "10.96.0.7",
    }


def test_resource_fields_are_rounded_up() -> None:
    """A limit in units of its divisor; a request that is not given is the limit."""
    limits = ResourceRequirements(limits={"cpu": "1500m", "memory": "100Mi"})
    container = Container(name="c", resources=limits)
    pod = Pod(spec=PodSpec(containers=(container,)))

    def value(resource: str, divisor: str = "0") -> str:
        return env.resource(pod, container, {"resource": resource, "divisor": divisor})

    assert value("limits.cpu") == "2"
    assert value("requests.cpu", "1m") == "1500"
    assert value("limits.memory", "1Mi") == "100"


def test_limits_are_what_the_kernel_counts() -> None:
    """Shares of 1024 per processor, quota of 100 ms, bytes."""
    asked = ResourceRequirements(limits={"cpu": "500m", "memory": "64Mi"}, requests={"cpu": "250m"})
    found = containers.resources(Container(name="c", resources=asked))
    assert found == Resources(cpu_shares=256, cpu_quota=50_000, memory=64 << 20)
    assert containers.resources(Container(name="c")) is None
