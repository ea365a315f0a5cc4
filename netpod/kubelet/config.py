"""What a kubelet is told when it starts."""

import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from netpod.api.pod import Pod
from netpod.cni.flannel import Backend
from netpod.ip import Address, Family, Network, family_of
from netpod.paths import Paths

VERSION = "v1.30.0-netpod"
KUBELET_PORT = 10250
POD_CIDRS: tuple[Network, ...] = (ipaddress.IPv4Network("10.244.0.0/16"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletConfig:
    """One node of one cluster.

    Attributes:
        cluster: Name of the cluster.
        node: Name of the node.
        node_ips: Its InternalIPs, one of each family, the primary first.
        paths: Where the cluster keeps what it keeps.
        shim_socket: Where the node's shim listens.
        cluster_dns: Name server of pods.
        cluster_domain: Zone of the cluster's names.
        control_plane: Label the node as such.
        dedicated: Keep ordinary pods and load balancer traffic off a control plane node.
        stand_in: Run the stand-in for images that are not on this machine; else they are ErrImagePull.
        pod_cidrs: All pods' addresses of each family, of which each node has a share.
        backend: How the nodes reach each other's pods.
        lease_seconds: For how long a heartbeat counts; a quarter of it lies between two.
        max_pods: How many pods the node takes; a /24 has 253 addresses for them.
        tls: For the kubelet's own API; None serves none.
        allow_host_path: Directories of the machine that a hostPath volume may be below.
        images: Directory of the local image store.
        iptables_legacy: Write the rules of the pod network with iptables' other variant.
        isolate: Comes back when a pod's NetworkPolicies hold for its fresh addresses; nothing starts before.
    """

    cluster: str
    node: str
    node_ips: tuple[Address, ...]
    paths: Paths
    shim_socket: Path
    cluster_dns: tuple[Address, ...] = (ipaddress.IPv4Address("10.96.0.10"),)
    cluster_domain: str = "cluster.local"
    control_plane: bool = False
    dedicated: bool = True
    stand_in: bool = True
    pod_cidrs: tuple[Network, ...] = POD_CIDRS
    backend: Backend = Backend.HOST_GW
    lease_seconds: int = 40
    max_pods: int = 250
    tls: Callable[[], ssl.SSLContext] | None = None
    allow_host_path: tuple[Path, ...] = ()
    images: Path = Path("/var/lib/netpod/.images")
    iptables_legacy: bool = False
    isolate: Callable[[Pod, tuple[str, ...]], Awaitable[None]] | None = None

    @property
    def node_ip(self) -> Address:
        """The node's primary address."""
        return self.node_ips[0]

    @property
    def host_ips(self) -> tuple[str, ...]:
        """`node_ips` as the API has them."""
        return tuple(map(str, self.node_ips))

    @property
    def families(self) -> tuple[Family, ...]:
        """Address families of pods, the primary first."""
        return tuple(family_of(it) for it in self.pod_cidrs)
