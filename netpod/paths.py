"""Where a cluster keeps what it keeps, and what its network namespaces are called.

Everything of cluster NAME lies below /run/netpod/NAME (gone after a reboot) and /var/lib/netpod/NAME
(durable), and in network namespaces whose names begin with `netpod-NAME-`; nothing else on the machine is ours.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

NETNS_DIR = Path("/run/netns")
MARK = "NETPOD_PROCESS_OF"
"""Environment variable that every process of a cluster carries, so that cleanup can find it, and end it.

It is not NETPOD_CLUSTER: that one users set to choose a cluster, and their shells and scripts carry it.
"""
_CLUSTER_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


def is_cluster_name(name: str) -> bool:
    """Whether a cluster may be called so. Folders that are removed whole carry the name: never `..` or ``."""
    return _CLUSTER_NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Paths:
    """Names and places of one cluster. `cluster` is a DNS label of at most 40 characters."""

    cluster: str

    @property
    def run(self) -> Path:
        """Directory for sockets, pids, kubeconfig and container logs, mode 0700."""
        return Path("/run/netpod") / self.cluster

    @property
    def state(self) -> Path:
        """Directory for store and keys, mode 0700."""
        return Path("/var/lib/netpod") / self.cluster

    @property
    def api_socket(self) -> Path:
        """Unix socket of the API server; whoever may open it is system:masters."""
        return self.run / "apiserver.sock"

    def socket_of(self, identity: str) -> Path:
        """Unix socket of the API server for one of the cluster's components; whoever opens it is that component."""
        return self.run / "api" / f"{identity}.sock"

    @property
    def trace_lock(self) -> Path:
        """Lock that one trace at a time holds; beside it lies what a trace has yet to put back."""
        return self.run / "trace.lock"

    @property
    def kubeconfig(self) -> Path:
        """Administrator's kubeconfig, mode 0600."""
        return self.run / "kubeconfig"

    @property
    def database(self) -> Path:
        """SQLite file of the embedded store."""
        return self.state / "store.db"

    @property
    def pki(self) -> Path:
        """Directory of the cluster's certificate authority and keys, mode 0700."""
        return self.state / "pki"

    @property
    def volumes(self) -> Path:
        """Directory of the volumes made for claims, one each."""
        return self.state / "volumes"

    @property
    def pids(self) -> Path:
        """Directory of one file per process of ours, named for its role."""
        return self.run / "pids"

    @property
    def logs(self) -> Path:
        """Directory of the components' own logs, ROLE.log."""
        return self.run / "log"

    def node(self, node: str) -> Path:
        """Directory of one node: shim socket, sandboxes, IP reservations."""
        return self.run / "nodes" / node

    def shim_socket(self, node: str) -> Path:
        """Unix socket of the node's shim, root only."""
        return self.node(node) / "shim.sock"

    def pod_logs(self, namespace: str, pod: str, uid: str) -> Path:
        """Directory of a pod's container logs, `CONTAINER/RESTARTS.log` in CRI format.

        Source: kubelet's /var/log/pods layout, pkg/kubelet/kuberuntime/helpers.go BuildPodLogsDirectory.
        """
        return self.run / "pods" / _fitted(f"{namespace}_{pod}_{uid}", 255)

    @property
    def gone_pods(self) -> Path:
        """Directory of the logs of pods that are deleted, kept up to a bound."""
        return self.run / "pods.gone"

    @property
    def netns_prefix(self) -> str:
        """What the name of every network namespace of this cluster begins with."""
        return f"netpod-{self.cluster}-"

    @property
    def netns_outside(self) -> str:
        """The world: where the client outside the cluster stands."""
        return f"{self.netns_prefix}outside"

    @property
    def netns_edge(self) -> str:
        """Router of the site and the cloud's load balancer."""
        return f"{self.netns_prefix}edge"

    @property
    def netns_underlay(self) -> str:
        """The bridge between the nodes."""
        return f"{self.netns_prefix}underlay"

    def netns_node(self, node: str) -> str:
        """A node's root network namespace."""
        return f"{self.netns_prefix}{node}"

    def netns_pod(self, node: str, namespace: str, pod: str) -> str:
        """A pod's network namespace: `netpod-CLUSTER-NODE-NAMESPACE.POD`, its tail a hash when too long for a file.

        A namespace has no dot in its name, so the pair never collides.
        """
        return _fitted(f"{self.netns_prefix}{node}-{namespace}.{pod}", 200)


def _fitted(name: str, limit: int) -> str:
    """Return a file name of at most `limit` characters, the tail of a longer one replaced by a hash of it all."""
    if len(name) <= limit:
        return name
    return f"{name[: limit - 17]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
