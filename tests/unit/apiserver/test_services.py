"""Cluster IPs and node ports: given once each, kept, released, rebuilt."""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from netpod import errors
from netpod.api.meta import ObjectMeta
from netpod.api.service import Service, ServicePort, ServiceSpec
from netpod.apiserver.allocators import Allocators
from tests.unit.apiserver.support import SERVICES, Api, Json, service, serving

Run = Callable[[Callable[[Api], Awaitable[None]]], None]


def node_ports(found: Json) -> list[int]:
    """The node ports of a Service."""
    return [port.get("nodePort", 0) for port in found["spec"]["ports"]]


def test_concurrent_creates_get_different_addresses(run: Run) -> None:
    """Sixty Services at once: sixty cluster IPs and sixty node ports, all from the upper bands."""

    async def body(api: Api) -> None:
        made = await asyncio.gather(
            *(api.create(SERVICES, service(f"s{i}", type="NodePort")) for i in range(60))
        )
        addresses = {found["spec"]["clusterIP"] for found in made}
        ports = {port for found in made for port in node_ports(found)}
        assert (len(addresses), len(ports)) == (60, 60)
        assert all(address.startswith("10.96.1.") for address in addresses)
        assert all(30086 <= port <= 32767 for port in ports)
        assert all(found["spec"]["clusterIPs"] == [found["spec"]["clusterIP"]] for found in made)

    run(body)


def test_chosen_values_are_honoured_once(run: Run) -> None:
    """An explicit cluster IP or node port is given to the first who asks; the second is told why not."""

    async def body(api: Api) -> None:
        ports = [{"port": 80, "nodePort": 30080}]
        chosen = service("a", type="NodePort", clusterIP="10.96.0.10", ports=ports)
        made = await api.create(SERVICES, chosen)
        assert (made["spec"]["clusterIP"], node_ports(made)) == ("10.96.0.10", [30080])
        for manifest, message in (
            (
                service("b", clusterIP="10.96.0.10"),
                'Service "b" is invalid: spec.clusterIPs: Invalid value: []string{"10.96.0.10"}: '
                "failed to allocate IP 10.96.0.10: provided IP is already allocated",
            ),
            (
                service("b", type="NodePort", ports=ports),
                'Service "b" is invalid: spec.ports[0].nodePort: Invalid value: 30080: '
                "provided port is already allocated",
            ),
            (
                service("b", clusterIP="192.0.2.1"),
                'Service "b" is invalid: spec.clusterIPs: Invalid value: []string{"192.0.2.1"}: '
                "failed to allocate IP 192.0.2.1: the provided IP (192.0.2.1) is not in the valid "
                "range. The range of valid IPs is 10.96.0.0/16",
            ),
            (
                service("b", type="NodePort", ports=[{"port": 80, "nodePort": 8080}]),
                'Service "b" is invalid: spec.ports[0].nodePort: Invalid value: 8080: '
                "provided port is not in the valid range. The range of valid ports is 30000-32767",
            ),
        ):
            code, status = await api("POST", SERVICES, manifest)
            assert (code, status["message"]) == (422, message)

    run(body)


def test_a_refused_service_takes_nothing(run: Run) -> None:
    """What was claimed before the refusal is free again."""

    async def body(api: Api) -> None:
        await api.create(SERVICES, service("a", clusterIP="10.96.0.20"))
        ports = [
            {"name": "x", "port": 80, "nodePort": 30090},
            {"name": "y", "port": 81, "nodePort": 1},
        ]
        code, _ = await api("POST", SERVICES, service("b", type="NodePort", ports=ports))
        assert code == 422
        again = service("a", type="NodePort", ports=[{"port": 80, "nodePort": 30091}])
        code, _ = await api("POST", SERVICES, again)
        assert code == 409
        ports = [
            {"name": "x", "port": 80, "nodePort": 30090},
            {"name": "y", "port": 81, "nodePort": 30091},
        ]
        await api.create(SERVICES, service("b", type="NodePort", ports=ports))

    run(body)


def test_updates_keep_and_release(run: Run) -> None:
    """An update that leaves values out keeps them; a change of type frees node ports; deletion frees all."""

    async def body(api: Api) -> None:
        path = f"{SERVICES}/a"
        made = await api.create(SERVICES, service("a", type="NodePort"))
        address, ports = made["spec"]["clusterIP"], node_ports(made)
        code, kept = await api("PUT", path, service("a", type="NodePort"))
        assert (code, kept["spec"]["clusterIP"], node_ports(kept)) == (200, address, ports)
        code, plain = await api("PATCH", path, {"spec": {"type": "ClusterIP"}})
        assert (code, plain["spec"]["clusterIP"], node_ports(plain)) == (200, address, [0])
        taken = [{"port": 80, "nodePort": ports[0]}]
        await api.create(SERVICES, service("b", type="NodePort", ports=taken))
        await api("DELETE", path)
        await api.create(SERVICES, service("c", clusterIP=address))

    run(body)


def test_concurrent_updates_of_one_service_keep_its_claims(run: Run) -> None:
    """Ten identical patches that race leave the node port owned: nobody else can have it."""

    async def body(api: Api) -> None:
        await api.create(SERVICES, service("a"))
        patch = {"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30100}]}}
        answers = await asyncio.gather(*(api("PATCH", f"{SERVICES}/a", patch) for _ in range(10)))
        assert {code for code, _ in answers} == {200}
        ports = [{"port": 80, "nodePort": 30100}]
        code, status = await api("POST", SERVICES, service("b", type="NodePort", ports=ports))
        assert (code, "already allocated" in status["message"]) == (422, True)

    run(body)


def test_headless_and_external_services_take_no_address(run: Run) -> None:
    """clusterIP None stays None; ExternalName has no cluster IP."""

    async def body(api: Api) -> None:
        headless = await api.create(SERVICES, service("h", clusterIP="None"))
        assert headless["spec"]["clusterIPs"] == ["None"]
        manifest = service("e", type="ExternalName", externalName="example.com")
        external = await api.create(SERVICES, manifest)
        assert "clusterIP" not in external["spec"]

    run(body)


def test_one_node_port_serves_two_protocols(run: Run) -> None:
    """TCP and UDP of the same port share the node port, as for DNS."""

    async def body(api: Api) -> None:
        ports = [
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        ]
        made = await api.create(SERVICES, service("dns", type="NodePort", ports=ports))
        first, second = node_ports(made)
        assert first == second != 0

    run(body)


def test_local_load_balancers_get_a_health_check_port(run: Run) -> None:
    """externalTrafficPolicy Local reserves healthCheckNodePort from the same pool."""

    async def body(api: Api) -> None:
        manifest = service("l", type="LoadBalancer", externalTrafficPolicy="Local")
        made = await api.create(SERVICES, manifest)
        check = made["spec"]["healthCheckNodePort"]
        assert 30000 <= check <= 32767
        assert check not in node_ports(made)

    run(body)


def test_pools_are_rebuilt_after_a_restart(tmp_path: Path) -> None:
    """A new server knows what stored Services have."""

    async def body() -> None:
        async with serving(tmp_path) as api:
            made = await api.create(SERVICES, service("a", type="NodePort"))
            kubernetes = await api.get(f"{SERVICES}/kubernetes")
            assert kubernetes["spec"]["clusterIP"] == "10.96.0.1"
        async with serving(tmp_path) as api:
            assert await api.get(f"{SERVICES}/kubernetes") == kubernetes
            for manifest in (
                service("b", clusterIP=made["spec"]["clusterIP"]),
                service("b", clusterIP="10.96.0.1"),
                service("b", type="NodePort", ports=[{"port": 1, "nodePort": node_ports(made)[0]}]),
            ):
                code, status = await api("POST", SERVICES, manifest)
                assert (code, "already allocated" in status["message"]) == (422, True)

    asyncio.run(body())


def test_an_empty_pool_says_so() -> None:
    """When every address is taken the next Service fails, and frees what it had claimed."""
    pools = Allocators((IPv4Network("10.0.0.0/29"),), range(30000, 30003))

    def named(uid: str) -> Service:
        port = ServicePort(port=80, protocol="TCP")
        spec = ServiceSpec(type="NodePort", ports=(port,))
        return Service(metadata=ObjectMeta(name=uid, uid=uid), spec=spec)

    services = [pools.claim(None, named(str(i)))[0] for i in range(3)]
    with pytest.raises(errors.ApiError, match="range is full"):
        pools.claim(None, named("x"))
    pools.release(services[0])
    again, _ = pools.claim(None, named("y"))
    assert again.spec.ports[0].node_port == services[0].spec.ports[0].node_port
