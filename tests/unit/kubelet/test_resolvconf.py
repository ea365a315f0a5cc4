"""What pods find in /etc/resolv.conf and /etc/hosts."""

from netpod.api.meta import ObjectMeta
from netpod.api.pod import HostAlias, Pod, PodDNSConfig, PodDNSConfigOption, PodSpec
from netpod.kubelet import resolvconf
from netpod.kubelet.resolvconf import Resolver

NODE = Resolver(("192.0.2.53",), ("example.org",), ("rotate",))
DNS = ("10.96.0.10",)


def text(**spec: object) -> list[str]:
    """Lines of the resolv.conf of a pod in namespace shop."""
    pod = Pod(metadata=ObjectMeta(name="web", namespace="shop"), spec=PodSpec(**spec))  # type: ignore[arg-type]
    return resolvconf.resolv_conf(pod, DNS, "cluster.local", NODE).splitlines()


def test_cluster_first() -> None:
    """The cluster's name server alone, its search list before the host's, ndots:5, no host options."""
    assert text() == [
        "search shop.svc.cluster.local svc.cluster.local cluster.local example.org",
        "nameserver 10.96.0.10",
        "options ndots:5",
    ]


def test_host_network_means_default_unless_asked_for() -> None:
    """ClusterFirst on the host network is Default; ClusterFirstWithHostNet is what it says."""
    node = ["search example.org", "nameserver 192.0.2.53", "options rotate"]
    assert text(host_network=True) == node
    assert text(dns_policy="Default") == node
    assert text(host_network=True, dns_policy="ClusterFirstWithHostNet") == text()


def test_dns_config_is_appended() -> None:
    """dnsConfig adds name servers and searches without doubles, and its options win."""
    config = PodDNSConfig(
        nameservers=("192.0.2.1", "192.0.2.2", "192.0.2.3"),
        searches=("cluster.local", "more.example"),
        options=(
            PodDNSConfigOption(name="ndots", value="2"),
            PodDNSConfigOption(name="edns0"),
        ),
    )
    lines = text(dns_config=config)
    assert lines[0].split()[-2:] == ["example.org", "more.example"]
    assert lines[1:] == [
        "nameserver 10.96.0.10",
        "nameserver 192.0.2.1",
        "nameserver 192.0.2.2",
        "options ndots:2 edns0",
    ]


def test_none_has_only_dns_config() -> None:
    """dnsPolicy None takes nothing from anywhere else."""
    config = PodDNSConfig(nameservers=("192.0.2.1",))
    assert text(dns_policy="None", dns_config=config) == ["nameserver 192.0.2.1"]


def test_hosts_names_the_pod_and_its_aliases() -> None:
    """The pod's own line has its full name first when it has a subdomain."""
    spec = PodSpec(
        hostname="h",
        subdomain="sub",
        host_aliases=(HostAlias(ip="192.0.2.9", hostnames=("a", "b")),),
    )
    pod = Pod(metadata=ObjectMeta(name="web", namespace="shop"), spec=spec)
    lines = resolvconf.hosts(pod, ("10.244.1.7",), "cluster.local").splitlines()
    assert lines[0] == "# Kubernetes-managed hosts file."
    assert "10.244.1.7\th.sub.shop.svc.cluster.local\th" in lines
    assert lines[-2:] == ["# Entries added by HostAliases.", "192.0.2.9\ta\tb"]


def test_parse_reads_the_last_search_and_ignores_comments() -> None:
    """As the resolver library does."""
    found = resolvconf.parse(
        "search a b # c\nnameserver 192.0.2.1\n;x\ndomain d\noptions ndots:1\n"
    )
    assert found == Resolver(("192.0.2.1",), ("d",), ("ndots:1",))
