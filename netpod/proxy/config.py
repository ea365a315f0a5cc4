"""What one node's proxy is told at start."""

from dataclasses import dataclass, field
from enum import StrEnum

from netpod.ip import Address, Family, Network, family_of
from netpod.proxy.ipvs_config import IpvsConfig


class Mode(StrEnum):
    """How Services become kernel rules: KubeProxyConfiguration's `mode`."""

    IPTABLES = "iptables"
    NFTABLES = "nftables"
    IPVS = "ipvs"


class Variant(StrEnum):
    """Which of the kernel's two interfaces iptables mode writes to."""

    NFT = "nft"
    LEGACY = "legacy"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """Settings of one node's proxy for one address family, in the words of KubeProxyConfiguration.

    Attributes:
        cluster: Name of the netpod cluster.
        node_name: Name of the Node object this proxy works for.
        node_ip: The node's address of that family; all other addresses and networks are of it too.
        cluster_cidr: Addresses of all pods; whatever comes from elsewhere to a cluster IP is masqueraded
            (detectLocalMode ClusterCIDR). None: no such rule.
        mode: The mode until ConfigMap kube-system/kube-proxy names one.
        iptables_variant: nft is the distribution's `iptables`, legacy is libiptc's.
        netns: Network namespace the rules belong to; "" is the one this process is in.
        masquerade_all: Masquerade every connection to a cluster IP, also those of pods.
        masquerade_bit: Bit of the packet mark that asks for masquerading, 0..31.
        service_cidrs: Networks of the cluster IPs; nftables mode drops what goes to an address nobody has there.
        nodeport_addresses: Networks whose local addresses accept NodePorts; empty: every local address in iptables
            mode, the node's primary address in nftables mode.
        localhost_node_ports: Accept NodePorts on 127.0.0.1; sets route_localnet.
        conntrack_tcp_be_liberal: Do not drop packets conntrack calls INVALID.
        min_sync_period: Least seconds between the end of a sync and the start of the next.
        sync_period: Seconds between looks at the canary chains, and the longest wait before a failed sync is retried.
        full_sync_period: Seconds after which the kernel is read again, whatever happened.
        healthz_port: TCP port of the proxy's own /healthz; 0: none.
        metrics_port: TCP port of /metrics and /proxyMode, on 127.0.0.1 until the ConfigMap says another; 0: none.
        ipvs: Settings of IPVS mode, until the ConfigMap has some.
        secondary: The same for the node's other address family; None when it has one alone.

    Source: kubernetes pkg/proxy/apis/config/types.go.
    """

    cluster: str
    node_name: str
    node_ip: Address
    cluster_cidr: Network | None = None
    mode: Mode = Mode.IPTABLES
    iptables_variant: Variant = Variant.NFT
    netns: str = ""
    masquerade_all: bool = False
    masquerade_bit: int = 14
    service_cidrs: tuple[Network, ...] = ()
    nodeport_addresses: tuple[Network, ...] = ()
    localhost_node_ports: bool = True
    conntrack_tcp_be_liberal: bool = False
    min_sync_period: float = 0.01
    sync_period: float = 30.0
    full_sync_period: float = 3600.0
    healthz_port: int = 10256
    metrics_port: int = 10249
    ipvs: IpvsConfig = field(default_factory=IpvsConfig)
    secondary: "ProxyConfig | None" = None

    @property
    def family(self) -> Family:
        """The address family of these rules."""
        return family_of(self.node_ip)
