"""What IPVS mode alone has: virtual and real servers, graceful termination, schedulers, settings."""

import contextlib
import dataclasses
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from netpod.api.discovery import EndpointSlice
from netpod.api.service import Service
from netpod.errors import Unsupported
from netpod.linux import dummy, ipset, iptables, ipvs, legacy, link, netlink, netns, sysctl
from netpod.proxy import ipvs_compiled, ipvs_kernel, model, variants
from netpod.proxy.changes import ChangeTracker
from netpod.proxy.config import Mode, ProxyConfig
from netpod.proxy.ipvs import DUMMY, Ipvs
from netpod.proxy.ipvs import text as ipvs_text
from netpod.proxy.ipvs_config import IpvsConfig, Scheduler
from netpod.proxy.ipvs_port import RealServer, VirtualServer
from netpod.proxy.ipvs_proxier import IpvsProxier
from netpod.proxy.model import Model
from tests.kernel.proxy import lab
from tests.kernel.proxy.lab import NODE, POD1, POD2, ask
from tests.support.guest import needs
from tests.support.wait import pause, until
from tests.unit.proxy import builders
from tests.unit.proxy.builders import endpoint_slice, entry, port, service
from tests.unit.proxy.test_properties import change, steps

pytestmark = needs("ip_vs")

CASES = builders.cases()
VIP = "10.96.45.12"
PLACE: ipvs.Place = (IPv4Address(VIP), 80, "tcp")
FIVE, SIX = IPv4Address("10.244.1.5"), IPv4Address("10.244.1.6")


def config(**fields: Any) -> ProxyConfig:
    """The node's, with these settings of IPVS mode."""
    return dataclasses.replace(
        builders.CONFIG,
        netns=NODE,
        mode=Mode.IPVS,
        iptables_variant=lab.RULES,
        ipvs=IpvsConfig(**fields),
    )


def sync(wanted: Model, proxier: IpvsProxier | None = None, **fields: Any) -> IpvsProxier:
    """A full sync, by a proxier that may be new."""
    proxier = proxier or IpvsProxier(config(**fields))
    lab.run(proxier.full_sync(wanted))
    return proxier


def web(*ips: str, **spec: Any) -> Model:
    """shop/web with these endpoints."""
    return model.build((service(**spec),), (endpoint_slice([entry(ip) for ip in ips]),), "worker")


def weights(place: ipvs.Place = PLACE) -> dict[IPv4Address, int]:
    """Real servers of a virtual server, and their weights."""
    with ipvs.Ipvs(NODE) as kernel:
        return {it.address: it.weight for it in kernel.destinations(place)}  # type: ignore[misc]


def in_kernel() -> Ipvs:
    """Everything the node's kernel has, of rules those of our chains."""
    made = config()
    saved = variants.observe(lab.RULES, NODE)
    rules = {
        table: {name: rules for name, rules in chains.items() if name.startswith("KUBE-")}
        for table, chains in saved.items()
    }
    return dataclasses.replace(ipvs_kernel.observe(made), rules=rules)


def wanted(of: Model, **fields: Any) -> Ipvs:
    """Everything it should have."""
    made = config(**fields)
    ports, own = ipvs_kernel.node_addresses(made)
    return ipvs_compiled.compile(of, made, nodes=ports, own=own)


def unlike(found: Ipvs, expected: Ipvs) -> list[str]:
    """Lines of text in which both differ; the kernel has no order of real servers."""
    one, two = (
        set(ipvs_text(dataclasses.replace(it, servers=_sorted(it))).splitlines())
        for it in (found, expected)
    )
    return sorted(f"only found: {it}" for it in one - two) + sorted(
        f"missing: {it}" for it in two - one
    )


def _sorted(found: Ipvs) -> dict[VirtualServer, tuple[RealServer, ...]]:
    return {server: tuple(sorted(real)) for server, real in found.servers.items()}


def test_the_kernel_has_what_was_compiled(node: str) -> None:
    """Every case one after the other: servers, addresses, sets and rules; a restarted proxy hands nothing over."""
    for name in (*sorted(CASES), "empty"):
        sync(CASES[name])
        found, expected = in_kernel(), wanted(CASES[name])
        assert not unlike(found, expected), name
        assert lab.run(IpvsProxier(config()).full_sync(CASES[name])) is False, name
    assert link.observe_link(node, DUMMY)


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps)
def test_any_changes_end_as_one_full_sync(
    node: str, changes: list[Service | EndpointSlice | tuple[bool, str]]
) -> None:
    """Partial syncs, one per change, leave servers, addresses, sets and rules as one full sync would; twice is once."""
    tracker = ChangeTracker("worker")
    proxier = sync(tracker.model)

    async def walk() -> None:
        for step in changes:
            change(tracker, step)
            await proxier.sync(tracker.model, tracker.take())
        assert not await proxier.sync(tracker.model, frozenset(tracker.model.services))
        assert not await proxier.full_sync(tracker.model), "the second time something changed"

    lab.run(walk())
    assert not unlike(in_kernel(), wanted(tracker.model))


def test_somebody_takes_things_away(node: str) -> None:
    """An address, a member, a real server, a whole virtual server: the next full sync brings them back."""
    proxier = sync(CASES["web"])
    assert lab.run(proxier.intact())
    with ipvs.Ipvs(node) as kernel:
        kernel.send([kernel.delete((IPv4Address(VIP), 80, "tcp"))])
    assert not lab.run(proxier.intact())
    dummy.change(node, DUMMY, remove=[IPv4Address(VIP)])
    ipvs_kernel.change_sets(config(), remove={"KUBE-CLUSTER-IP": [f"{VIP},tcp:80"]})
    assert lab.run(proxier.full_sync(CASES["web"])) is True
    assert not unlike(in_kernel(), wanted(CASES["web"]))
    assert lab.run(proxier.intact())
    # A new address of the node opens node ports there.
    lab.ip(node, "address add 172.18.0.33/32 dev eth0")
    assert not lab.run(proxier.intact())


@pytest.mark.parametrize("scheduler", [it for it in Scheduler if it not in ("fo", "ovf")])
def test_every_scheduler_serves(node: str, scheduler: Scheduler) -> None:
    """Connections are answered, whatever chooses."""
    sync(web("10.244.1.5", "10.244.1.6"), scheduler=scheduler)
    with ipvs.Ipvs(node) as kernel:
        assert {service.scheduler for service in kernel.services()} == {scheduler}
    answered = {ask(POD1, VIP)[0] for _ in range(12)}
    hashes = scheduler in (Scheduler.SH, Scheduler.DH, Scheduler.LBLC, Scheduler.LBLCR)
    assert answered <= {POD1, POD2}
    assert len(answered) == 1 if hashes else answered


def test_scheduler_changes_under_traffic(node: str) -> None:
    """A connection goes on, and the virtual server stays the same one."""
    sync(web("10.244.1.5"))
    with lab.connect(POD2, VIP, 80) as sock:
        assert sock.recv(100).split()[0] == POD1.encode()
        sync(web("10.244.1.5"), scheduler=Scheduler.WLC, tcp_timeout=77)
        sock.sendall(b"on\n")
        assert sock.recv(10) == b"on\n"
    with ipvs.Ipvs(node) as kernel:
        assert [it.scheduler for it in kernel.services()] == ["wlc"]
        assert kernel.timeouts().tcp == 77


def test_real_server_drains(node: str) -> None:
    """It takes no new connections and keeps those it has; it is wanted again, or goes when its last one has ended."""
    proxier = sync(web("10.244.1.5", "10.244.1.6"), drain_period=0.05)
    one, two = web("10.244.1.5"), web("10.244.1.5", "10.244.1.6")
    with _connection_to(POD2) as sock:
        for _ in range(2):
            lab.run(proxier.sync(one, set(one.services)))
            assert weights() == {FIVE: 1, SIX: 0}
            assert {_who() for _ in range(6)} == {POD1}
            sock.sendall(b"on\n")
            assert sock.recv(10) == b"on\n"
            assert lab.run(proxier.tidy()) > 0
            lab.run(proxier.sync(two, set(two.services)))
            assert weights() == {FIVE: 1, SIX: 1}
            assert {_who() for _ in range(6)} == {POD1, POD2}
        lab.run(proxier.sync(one, set(one.services)))
        # A restarted proxy goes on waiting.
        proxier = sync(one, drain_period=0.05)
        assert weights() == {FIVE: 1, SIX: 0}
        _cut(sock)
    until(lambda: lab.run(proxier.tidy()) == 0.0, "the last connection is forgotten", 60)
    assert weights() == {FIVE: 1}


def test_udp_real_server_goes_at_once(node: str) -> None:
    """Nothing says when a flow ends; the client that goes on meets another."""
    dns = service(ports=(port(80, protocol="UDP"),))
    slices = [endpoint_slice([entry(ip)], ports=(("", 5353, "UDP"),)) for ip in lab.PODS.values()]
    proxier = sync(model.build((dns,), slices[:1], "worker"))
    place: ipvs.Place = (IPv4Address(VIP), 80, "udp")
    with (
        lab.udp_server(POD1),
        lab.udp_server(POD2),
        netns.socket_in(lab.CLIENT, socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        client.settimeout(0.5)
        assert _answer(client) == POD1
        changed = model.build((dns,), slices[1:], "worker")
        lab.run(proxier.sync(changed, set(changed.services)))
        assert weights(place) == {SIX: 1}
        assert until(lambda: _answer(client), "somebody answers") == POD2


def test_affinity_lasts_as_long_as_connections_are_remembered(node: str) -> None:
    """The client is free again after affinity's timeout, once IPVS has forgotten what it did before."""
    dns = service(ports=(port(80, protocol="UDP"),), session_affinity="ClientIP")
    both = [entry(ip) for ip in lab.PODS.values()]
    slices = [endpoint_slice(both, ports=(("", 5353, "UDP"),))]
    made = model.build((dns,), slices, "worker")
    (name,) = made.services
    short = {name: dataclasses.replace(made.services[name], affinity_seconds=3)}
    sync(dataclasses.replace(made, services=short), udp_timeout=1)
    with lab.udp_server(POD1), lab.udp_server(POD2):
        first = _from_new_port()
        assert {_from_new_port() for _ in range(6)} == {first}
        for _ in range(12):
            pause(4.5)  # a packet would begin the time anew
            if _from_new_port() not in ("", first):
                return
    raise AssertionError(f"the client never left {first}")


def test_settings_are_the_nodes_and_go_with_the_mode(node: str) -> None:
    """Sysctls and ARP of this namespace only; afterwards nothing is left but what excludeCIDRs names."""
    here = [*ipvs_kernel.SYSCTLS, *ipvs_kernel.STRICT_ARP]
    before = {key: (sysctl.read(node, key), sysctl.read("", key)) for key in here}
    foreign: ipvs.Place = (IPv4Address("192.0.2.9"), 80, "tcp")
    with ipvs.Ipvs(node) as kernel:
        kernel.send([kernel.add(ipvs.Service(place=foreign, scheduler="wrr"))])
    proxier = sync(
        CASES["web-local"], strict_arp=True, exclude_cidrs=(IPv4Network("192.0.2.0/24"),)
    )
    assert [sysctl.read(node, key) for key in here] == ["1", "1", "1", "1", "2"]
    assert lab.run(proxier.remove()) is True
    assert lab.run(proxier.remove()) is True
    assert {key: (sysctl.read(node, key), sysctl.read("", key)) for key in here} == before
    with ipvs.Ipvs(node) as kernel:
        assert [it.place for it in kernel.services()] == [foreign]
        kernel.send([kernel.delete(foreign)])
    assert "KUBE" not in iptables.save(node, legacy=lab.RULES == "legacy")
    assert not ipset.observe(node)
    assert link.observe_link(node, DUMMY) is None


def test_a_virtual_server_of_somebody_else_is_deleted(node: str) -> None:
    """Unless excludeCIDRs names it: the node's IPVS is the proxy's."""
    foreign: ipvs.Place = (IPv4Address("192.0.2.9"), 80, "tcp")
    with ipvs.Ipvs(node) as kernel:
        kernel.send([kernel.add(ipvs.Service(place=foreign, scheduler="wrr"))])
        sync(CASES["web"])
        assert foreign not in [it.place for it in kernel.services()]


def test_what_the_kernel_cannot_do_changes_nothing(node: str) -> None:
    """A scheduler whose module is missing: the error says which, and what was there serves on."""
    sync(web("10.244.1.5"))
    before = in_kernel()
    odd = config()
    object.__setattr__(odd.ipvs, "scheduler", "bogus")
    with pytest.raises(Unsupported, match="bogus"):
        lab.run(IpvsProxier(odd).full_sync(web("10.244.1.6")))
    assert not unlike(in_kernel(), before)
    assert ask(POD2, VIP)[0] == POD1


def test_killed_between_any_two_steps(node: str) -> None:
    """At every hand-over to the kernel in turn: a new process ends with what is wanted, and nothing breaks meanwhile.

    The way is from one Service with a connection to another set of Services, and from there out of the mode.
    """
    kinds = (_full_sync_to("web-local"), _leave)
    for step in range(1, 60):
        sync(CASES["web"])
        done = [_killed_at(step, kind) for kind in kinds[:1]]
        assert same_after_restart("web-local"), f"killed at step {step}"
        sync(CASES["web"])
        done.append(_killed_at(step, kinds[1]))
        assert lab.run(IpvsProxier(config()).remove()) is True
        assert link.observe_link(node, DUMMY) is None, f"left at step {step}"
        assert "KUBE" not in iptables.save(node, legacy=lab.RULES == "legacy")
        if all(done):
            assert step > 7
            return
    raise AssertionError("the steps have no end")


def same_after_restart(name: str) -> bool:
    """Whether a new proxier brings the kernel to this case, and then finds nothing to do."""
    sync(CASES[name])
    again = lab.run(IpvsProxier(config()).full_sync(CASES[name]))
    return again is False and not unlike(in_kernel(), wanted(CASES[name]))


def _full_sync_to(name: str) -> Callable[[], None]:
    return lambda: lab.run(IpvsProxier(config()).full_sync(CASES[name])) and None


def _leave() -> None:
    lab.run(IpvsProxier(config()).remove())


def _killed_at(step: int, body: Callable[[], None]) -> bool:
    """Run in a process that kills itself before its hand-over number `step`; True when it came to its end."""
    doors = {
        netlink.Socket.send.__code__,
        legacy.change.__code__,
        iptables.restore.__code__,
        sysctl.write_here.__code__,
    }
    child = os.fork()
    if child == 0:
        count = 0

        def watch(frame: FrameType, event: str, _argument: object) -> None:
            nonlocal count
            if event == "call" and frame.f_code in doors:
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            import threading

            threading.setprofile(watch)
            sys.setprofile(watch)
            body()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@contextlib.contextmanager
def _connection_to(pod: str) -> Iterator[socket.socket]:
    for _ in range(20):
        sock = lab.connect(POD1, VIP, 80, timeout=5)
        with sock:
            if sock.recv(100).split()[0] == pod.encode():
                yield sock
                return
            _cut(sock)
    raise AssertionError(f"no connection reached {pod}")


def _who() -> str:
    """Which pod answers a connection, which is cut."""
    with lab.connect(POD1, VIP, 80, timeout=5) as sock:
        pod = sock.recv(100).split()[0].decode()
        _cut(sock)
    return pod


def _cut(sock: socket.socket) -> None:
    """Let it end by a reset: IPVS remembers that for 10 s, and a connection that was closed for 120."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def _answer(client: socket.socket) -> str:
    client.sendto(b"?", (VIP, 80))
    try:
        return client.recv(100).decode()
    except (TimeoutError, ConnectionRefusedError):
        return ""


def _from_new_port() -> str:
    with netns.socket_in(lab.CLIENT, socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.5)
        return _answer(client)
