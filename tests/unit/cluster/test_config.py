"""A cluster's configuration is checked before anything is made."""

from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from netpod.cluster import config
from netpod.cluster.config import ClusterConfig
from netpod.errors import UsageError


def test_defaults_give_the_documented_addresses() -> None:
    """Nodes, edge, client and Services stand where the documentation says."""
    cluster = ClusterConfig()
    cluster.check()
    assert [node.name for node in cluster.nodes] == ["control-plane", "worker", "worker2"]
    assert cluster.nodes[1].addresses == (IPv4Interface("172.18.0.3/16"),)
    assert cluster.edge_underlays == (IPv4Interface("172.18.0.1/16"),)
    assert cluster.client_addresses == (IPv4Interface("203.0.113.10/24"),)
    assert str(cluster.kubernetes_ip) == "10.96.0.1"
    assert [str(it) for it in cluster.dns_ips] == ["10.96.0.10"]


def test_a_dual_cluster_has_a_network_of_each_family_everywhere() -> None:
    """A family that is not named gets its default; the order of the Service networks says which is primary."""
    cluster = ClusterConfig(ip_family="dual", pod_cidr="10.1.0.0/16")
    cluster.check()
    assert cluster.pod_cidr == "10.1.0.0/16,fd00:10:244::/56"
    assert [str(it) for it in cluster.nodes[1].node_ips] == ["172.18.0.3", "fc00:f853:ccd:e793::3"]
    assert [str(it) for it in cluster.dns_ips] == ["10.96.0.10", "fd00:10:96::a"]
    turned = ClusterConfig(ip_family="dual", service_cidr="fd00:1::/112,10.1.0.0/16")
    assert turned.families == ("IPv6", "IPv4")
    assert [str(it) for it in turned.pod_networks] == ["fd00:10:244::/56", "10.244.0.0/16"]
    six = ClusterConfig(ip_family="ipv6")
    six.check()
    assert [str(it) for it in six.client_addresses] == ["2001:db8:203:113::a/64"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "Big"}, "cannot use cluster name 'Big': lower case letters"),
        ({"name": "a" * 41}, "at most 40 characters"),
        ({"name": "a-"}, "beginning and ending with a letter or digit"),
        ({"workers": -1}, "-1 workers; allowed are 0 to 200"),
        ({"api_port": 70000}, "cannot use apiPort: 70000"),
        ({"node_port_range": "5"}, "cannot use nodePortRange '5': write FIRST-LAST"),
        ({"pod_cidr": "10.244.0.1/16"}, "10.244.0.1/16 has host bits set"),
        ({"pod_cidr": "nonsense"}, r"cannot use pod network 'nonsense' \(--pod-cidr\)"),
        ({"pod_cidr": "127.0.0.0/8"}, "no loopback, link-local or multicast addresses"),
        ({"lb_cidr": "224.0.0.0/8"}, "no loopback, link-local or multicast addresses"),
        ({"service_cidr": "10.244.1.0/24"}, "it overlaps the pod network 10.244.0.0/16"),
        ({"service_cidr": "10.96.0.0/28"}, "too small, at least /26"),
        ({"pod_cidr": "10.244.0.0/23"}, "3 nodes need a /24 each, it holds 2"),
        ({"ip_family": "both"}, "cannot use IP family 'both'.*there are ipv4, ipv6, dual"),
        ({"pod_cidr": "fd00::/56"}, "IP family ipv4 needs one IPv4 network"),
        ({"ip_family": "ipv6", "lb_cidr": "10.1.0.0/16"}, "IP family ipv6 needs one IPv6 network"),
        ({"ip_family": "dual", "pod_cidr": "fd00::/56,fd01::/56"}, "one IPv4 and one IPv6 network"),
        ({"ip_family": "ipv6", "pod_cidr": "fd00::/63"}, "3 nodes need a /64 each, it holds 2"),
        ({"ip_family": "ipv6", "service_cidr": "fd00::/64"}, "too large, at most /108"),
        ({"ip_family": "ipv6", "lb_cidr": "fd00:10:244::/112"}, "it overlaps the pod network"),
        ({"ip_family": "ipv6", "lb_cidr": "fe80::/64"}, "no loopback, link-local or multicast"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(fields: dict[str, object], message: str) -> None:
    """Each mistake names the field, what was found and what is allowed."""
    with pytest.raises(UsageError, match=message):
        ClusterConfig(**fields).check()  # type: ignore[arg-type]


def test_a_network_of_the_machine_is_kept_clear_of() -> None:
    """A route of the host inside one of ours is an error that names the option to change; the default route is none."""
    routes = [(IPv4Network("0.0.0.0/0"), "eth0"), (IPv4Network("172.18.5.0/24"), "docker0")]
    with pytest.raises(
        UsageError, match=r"172.18.5.0/24 dev docker0; choose another with --underlay-cidr"
    ):
        ClusterConfig().check(routes)
    ClusterConfig(underlay_cidr="172.19.0.0/16").check(routes)


def test_file_uses_the_apis_spelling(tmp_path: Path) -> None:
    """Fields of the file are camelCase; an unknown one is named with those that are known."""
    file = tmp_path / "cluster.yaml"
    file.write_text("name: demo\nworkers: 4\npodCIDR: 10.1.0.0/16\nnodeMonitorGraceSeconds: 5\n")
    cluster = config.merged(config.from_file(file), {"workers": 1, "lb_cidr": None})
    assert (cluster.name, cluster.workers, cluster.pod_cidr) == ("demo", 1, "10.1.0.0/16")
    assert cluster.node_monitor_grace_seconds == 5.0
    file.write_text("wrokers: 4\n")
    with pytest.raises(UsageError, match=r"unknown field wrokers; known are .*workers"):
        config.from_file(file)
    file.write_text("workers: many\n")
    with pytest.raises(UsageError, match="workers: expected int, found 'many'"):
        config.from_file(file)


def test_a_nodes_part_of_the_pod_network_bounds_its_pods() -> None:
    """A /24 has room for 250; parts may be larger, as long as the pod network holds one for every node."""
    assert ClusterConfig().max_pods == 250
    large = ClusterConfig(node_cidr_mask_size=22)
    large.check()
    assert large.max_pods == 1018
    with pytest.raises(UsageError, match=r"3 nodes need a /17 each, it holds 2"):
        ClusterConfig(node_cidr_mask_size=17).check()
    with pytest.raises(UsageError, match=r"nodeCIDRMaskSize: 29; allowed are 16 to 28"):
        ClusterConfig(node_cidr_mask_size=29).check()
