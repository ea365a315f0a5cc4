"""What packets do under one proxy mode and not under another."""

from ipaddress import IPv4Network

import pytest

from netpod.linux import sysctl
from netpod.proxy.config import Mode
from tests.kernel.proxy import lab
from tests.kernel.proxy.lab import CLIENT, NODE, NODE_IP, POD1, POD2, ask
from tests.kernel.proxy.test_traffic import VIP, balancer, web
from tests.unit.proxy import builders

BRIDGE = "10.244.1.1"
EVERYWHERE = (IPv4Network("0.0.0.0/0"),)


def test_iptables_node_port_answers_on_every_local_address(node: str) -> None:
    """A node port is open on the bridge and, from the node itself, on 127.0.0.1 too."""
    sysctl.write(NODE, "net.ipv4.conf.all.route_localnet", 1)
    lab.apply(balancer())
    assert ask(POD1, BRIDGE, 31080)[0] in (POD1, POD2)
    assert ask(NODE, "127.0.0.1", 31080)[0] in (POD1, POD2)


def test_spoofed_localnet_packets_do_not_arrive(node: str) -> None:
    """route_localnet opens 127.0.0.0/8 to neighbours; KUBE-FIREWALL closes it again."""
    sysctl.write(NODE, "net.ipv4.conf.all.route_localnet", 1)
    sysctl.write(CLIENT, "net.ipv4.conf.all.route_localnet", 1)
    lab.ip(CLIENT, "address del 127.0.0.1/8 dev lo", f"route add 127.0.0.2 via {NODE_IP}")
    with lab.tcp_server(NODE, 9000):
        assert ask(CLIENT, "127.0.0.2", 9000)[0] == NODE
        lab.apply(builders.cases()["empty"])
        with pytest.raises(TimeoutError):
            ask(CLIENT, "127.0.0.2", 9000, timeout=0.2)


def test_nftables_node_port_answers_on_the_primary_address_alone(node: str) -> None:
    """Other local addresses refuse; with nodePortAddresses 0.0.0.0/0 they answer, 127.0.0.1 never does."""
    lab.apply(balancer(), mode=Mode.NFTABLES)
    for source, address in ((POD1, BRIDGE), (NODE, "127.0.0.1")):
        with pytest.raises(ConnectionRefusedError):
            ask(source, address, 31080)
    lab.apply(balancer(), mode=Mode.NFTABLES, nodeport_addresses=EVERYWHERE)
    assert ask(POD1, BRIDGE, 31080)[0] in (POD1, POD2)
    with pytest.raises(ConnectionRefusedError):
        ask(NODE, "127.0.0.1", 31080)


def test_nftables_refuses_unknown_ports_and_drops_unknown_addresses(node: str) -> None:
    """A cluster IP's undefined port is refused at once, an address of the Service network nobody has is dropped."""
    networks = (IPv4Network("10.96.0.0/16"),)
    lab.apply(web(), mode=Mode.NFTABLES, service_cidrs=networks)
    for source in (POD1, NODE):
        with pytest.raises(ConnectionRefusedError):
            ask(source, VIP, 81)
        with pytest.raises(TimeoutError):
            ask(source, "10.96.99.99", 80, timeout=0.2)
