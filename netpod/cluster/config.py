"""ClusterConfig: everything that may differ between two clusters, checked before anything is made.

Kept as JSON in /var/lib/netpod/NAME/config.json, so that a restarted process finds what its predecessor had.
"""

from collections.abc import Mapping, Sequence
from dataclasses import Field, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from netpod.apiserver.storeconfig import StoreConfig
from netpod.cluster import machine, networks, publish, without
from netpod.cluster.machine import Machine, Power
from netpod.cni import flannel
from netpod.cni.flannel import Backend
from netpod.errors import BadRequest, UsageError
from netpod.ip import Address, Family, Interface, Network, by_family, family_of, interface_of
from netpod.paths import Paths, is_cluster_name
from netpod.proxy.config import Mode, Variant
from netpod.proxy.ipvs_config import Scheduler, scheduler_of

MAX_WORKERS = 200
_OURS = ("machines", "stopped")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """One node: its name, its addresses on the underlay, one of each family, and whether it shall run."""

    name: str
    addresses: tuple[Interface, ...]
    control_plane: bool
    power: Power = Power.ON

    @property
    def node_ips(self) -> tuple[Address, ...]:
        """`addresses` without prefix lengths."""
        return tuple(it.ip for it in self.addresses)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """One cluster.

    Attributes:
        name: A DNS label of at most 40 characters; part of every namespace's and file's name.
        workers: Number of worker nodes, 0..200; with 0 the control plane node takes pods.
        ip_family: ipv4, ipv6, or dual for both; which is the primary one, the order of service_cidr says.
        outside_cidr: The world's network. This and the other four are one network or, with ip_family dual, two,
            separated by a comma; a family that is left out gets its default network.
        api_port: Port of the API server on 127.0.0.1; 0 takes a free one at the first start.
        proxy_mode: How Services become rules: iptables, nftables or ipvs; ConfigMap kube-system/kube-proxy may
            change it.
        iptables_variant: nft, the distribution's, or legacy, through libiptc; "" is nft, where the kernel has
            nf_tables.
        ipvs_scheduler: How virtual servers choose in proxy mode ipvs; the ConfigMap may change it.
        node_cidr_mask_size: Prefix length of a node's part of the IPv4 pod network, 16..28; it bounds the node's pods.
        pod_network: How nodes reach each other's pods: host-gw, by routes, or vxlan, by an overlay.
        stand_in: Whether an image that is not on this machine is stood in for.
        allow_host_path: Directories of the machine that hostPath volumes may be below, separated by colons; "" is none.
        publish: Ports of 127.0.0.1 that lead into the cluster, see publish.py; "" for none.
        attach: Whether this machine gets a link and routes into the cluster, see attach.py.
        dns_forward: Whether cluster DNS asks this machine's name servers for names outside the cluster.
        audit_log: Whether the API server writes a line about each request into audit.log beside the other logs.
        without: Components that somebody else runs in place of ours, see without.py; "" for none.
        store: Where objects are kept, with its TLS files; see StoreConfig.
        node_monitor_grace_seconds: After this silence a node is NotReady.
        fast_failure: Whether that, and what follows from it, comes in a tenth of the time.
        machines: The nodes there are, once they are not those `workers` says; not for people to write.
        stopped: Whether the cluster shall not run now; not for people to write.
    """

    name: str = "netpod"
    workers: int = 2
    ip_family: str = "ipv4"
    outside_cidr: str = ""
    underlay_cidr: str = ""
    pod_cidr: str = ""
    service_cidr: str = ""
    lb_cidr: str = ""
    node_cidr_mask_size: int = 24
    node_port_range: str = "30000-32767"
    api_port: int = 0
    proxy_mode: str = Mode.IPTABLES.value
    iptables_variant: str = ""
    pod_network: str = Backend.HOST_GW.value
    ipvs_scheduler: str = Scheduler.RR.value
    stand_in: bool = True
    publish: str = publish.DEFAULT
    attach: bool = False
    dns_forward: bool = False
    audit_log: bool = False
    allow_host_path: str = ""
    without: str = ""
    store: str = ""
    store_ca: str = ""
    store_cert: str = ""
    store_key: str = ""
    node_monitor_grace_seconds: float = 50.0
    fast_failure: bool = False
    machines: tuple[Machine, ...] = ()
    stopped: bool = False

    def __post_init__(self) -> None:
        """Fill in the networks that were not named."""
        for field, text in networks.complete(self.ip_family, self.named_networks).items():
            object.__setattr__(self, field, text)

    @property
    def named_networks(self) -> dict[str, str]:
        """The five networks as text, by field."""
        return {field: getattr(self, field) for field in networks.NAMES}

    @property
    def families(self) -> tuple[Family, ...]:
        """Address families of pods and Services, the primary first."""
        return tuple(map(family_of, self.service_networks))

    @property
    def service_networks(self) -> tuple[Network, ...]:
        """Cluster IPs, one network of each family."""
        return networks.parse(self.service_cidr)

    @property
    def pod_networks(self) -> tuple[Network, ...]:
        """Pods' addresses, one network of each family, in the order of `families`."""
        return self._networks(self.pod_cidr)

    @property
    def lb_networks(self) -> tuple[Network, ...]:
        """Load balancers' addresses, one network of each family, in the order of `families`."""
        return self._networks(self.lb_cidr)

    @property
    def variant(self) -> Variant:
        """Which of the two iptables."""
        return Variant(self.iptables_variant or Variant.NFT)

    @property
    def paths(self) -> Paths:
        """Names and places of this cluster."""
        return Paths(self.name)

    @property
    def nodes(self) -> tuple[NodeConfig, ...]:
        """Nodes in order of their addresses: control-plane, worker, worker2, ..."""
        return tuple(
            NodeConfig(
                name=it.name,
                addresses=self._members(self.underlay_cidr, it.number + 2),
                control_plane=it.number == 0,
                power=it.power,
            )
            for it in self.machines or machine.first(self.workers)
        )

    @property
    def running(self) -> tuple[NodeConfig, ...]:
        """The nodes that shall run now."""
        return tuple(node for node in self.nodes if node.power is Power.ON)

    @property
    def node_prefixes(self) -> dict[Family, int]:
        """Prefix length of a node's part of the pod network, by family."""
        return {**networks.NODE_PREFIX, Family.IPV4: self.node_cidr_mask_size}

    @property
    def max_pods(self) -> int:
        """How many pods a node takes: as many as its part of the pod network has addresses, but a few."""
        return int(min(2 ** (32 - self.node_cidr_mask_size), 1024)) - 6

    @property
    def mtu(self) -> int:
        """MTU of pods, in bytes."""
        return flannel.mtu(Backend(self.pod_network), self.families)

    @property
    def patience(self) -> float:
        """What upstream's timings of failing nodes are multiplied by."""
        return 0.1 if self.fast_failure else 1.0

    @property
    def edge_underlays(self) -> tuple[Interface, ...]:
        """The edge router's address on the underlay, of each family: the first."""
        return self._members(self.underlay_cidr, 1)

    @property
    def edge_outsides(self) -> tuple[Interface, ...]:
        """The edge router's address in the world, of each family: the first."""
        return self._members(self.outside_cidr, 1)

    @property
    def client_addresses(self) -> tuple[Interface, ...]:
        """The client outside the cluster, of each family: the tenth."""
        return self._members(self.outside_cidr, 10)

    @property
    def control_plane_ip(self) -> Address:
        """The control plane node's primary address."""
        return self.nodes[0].node_ips[0]

    @property
    def kubernetes_ip(self) -> Address:
        """Cluster IP of default/kubernetes: the first of the primary Service network."""
        return self.service_networks[0][1]

    @property
    def dns_ips(self) -> tuple[Address, ...]:
        """Cluster IPs of kube-system/kube-dns: the tenth of each Service network."""
        return tuple(network[10] for network in self.service_networks)

    @property
    def node_ports(self) -> tuple[int, int]:
        """First and last node port."""
        first, last = self.node_port_range.split("-")
        return int(first), int(last)

    @property
    def store_config(self) -> StoreConfig:
        """Which store this cluster's objects are in."""
        return StoreConfig(
            url=self.store, ca=self.store_ca, cert=self.store_cert, key=self.store_key
        )

    def _networks(self, text: str) -> tuple[Network, ...]:
        found = by_family(networks.parse(text))
        return tuple(found[it] for it in self.families)

    def _members(self, text: str, number: int) -> tuple[Interface, ...]:
        return tuple(interface_of(it[number], it.prefixlen) for it in self._networks(text))

    def check(self, host_routes: Sequence[tuple[Network, str]] = ()) -> None:
        """Raise unless a cluster can be made of this.

        Args:
            host_routes: The machine's routes as (destination, link), to be kept clear of.

        Raises:
            UsageError: which field, what was found, what is allowed.
        """
        check_name(self.name)
        if not 0 <= self.workers <= MAX_WORKERS:
            raise UsageError(
                f"cannot use nodes: {self.workers} workers; allowed are 0 to {MAX_WORKERS}"
            )
        for item in filter(None, self.allow_host_path.split(":")):
            if not item.startswith("/"):
                raise UsageError(f"cannot use allowHostPath: {item!r} does not begin with /")
        if not 0 <= self.api_port <= 65535:
            raise UsageError(f"cannot use apiPort: {self.api_port}; allowed are 0 (any) to 65535")
        try:
            first, last = self.node_ports
        except ValueError:
            first, last = 0, -1
        if not 1 <= first <= last <= 65535:
            raise UsageError(
                f"cannot use nodePortRange {self.node_port_range!r}: write FIRST-LAST within 1-65535"
            )
        check_proxy_mode(self.proxy_mode)
        if self.pod_network not in list(Backend):
            raise UsageError(
                f"cannot use pod network {self.pod_network!r} (--pod-network): there are {', '.join(Backend)}"
            )
        scheduler_of(self.ipvs_scheduler)
        self.store_config.endpoints()
        publish.parse(self.publish)
        without.parse(self.without)
        if self.iptables_variant not in ("", *Variant):
            known = ", ".join(Variant)
            raise UsageError(
                f"cannot use iptables variant {self.iptables_variant!r}: there are {known}"
            )
        networks.check(self.ip_family, self.named_networks, host_routes)
        if not 16 <= self.node_cidr_mask_size <= 28:
            raise UsageError(
                f"cannot use nodeCIDRMaskSize: {self.node_cidr_mask_size}; allowed are 16 to 28"
            )
        self.check_room()

    def check_room(self) -> None:
        """Raise unless every node can have its addresses and its parts of the pod networks.

        Raises:
            UsageError: there are more nodes than that.
        """
        count = len(self.nodes)
        if count > MAX_WORKERS + 1:
            raise UsageError(f"cannot use {count} nodes; allowed are {MAX_WORKERS + 1}")
        networks.check_room(self.named_networks, count, self.node_prefixes)

    def save(self) -> None:
        """Write to the cluster's state folder, in one step."""
        target = self.paths.state / "config.json"
        fresh = target.with_suffix(".new")
        fresh.write_bytes(orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2))
        fresh.replace(target)


def check_name(name: str) -> None:
    """Raise UsageError unless `name` can be a cluster's."""
    if not is_cluster_name(name):
        raise UsageError(
            f"cannot use cluster name {name!r}: lower case letters, digits and '-', at most 40 characters, "
            "beginning and ending with a letter or digit"
        )


def check_proxy_mode(text: str) -> Mode:
    """The proxy mode of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return Mode(text)
    except ValueError:
        known = ", ".join(Mode)
        raise UsageError(f"cannot use proxy mode {text!r}: there are {known}") from None


def not_up(name: str) -> UsageError:
    """What to say where a cluster is needed that is not there: the command that starts this very one."""
    option = "" if name == "netpod" else f" --cluster {name}"
    return UsageError(f"no cluster {name} is up; start one with: sudo netpod{option} up")


def load(name: str) -> ClusterConfig:
    """Read the configuration a running cluster was made with.

    Raises:
        UsageError: there is no such cluster.
    """
    check_name(name)
    path = Paths(name).state / "config.json"
    try:
        values = orjson.loads(path.read_bytes())
        return ClusterConfig(**{**values, "machines": machine.load(values.get("machines", ()))})
    except FileNotFoundError:
        raise not_up(name) from None
    except PermissionError:
        raise UsageError(f"cannot read {path}: run as root (sudo netpod ...)") from None
    except (OSError, TypeError, KeyError, ValueError) as error:
        raise UsageError(
            f"cannot read {path}: {error}; netpod cleanup removes what is left"
        ) from error


def from_file(path: Path) -> dict[str, Any]:
    """Read the fields of a ClusterConfig from YAML, under their camelCase names.

    Raises:
        UsageError: the file cannot be read, or says something no ClusterConfig has.
    """
    from netpod.api import codec  # all kinds of objects come with it

    try:
        documents = codec.load_manifests(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except BadRequest as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    known = writable()
    values: dict[str, Any] = {}
    for document in documents:
        for name, value in document.items():
            if name not in known:
                raise UsageError(
                    f"cannot use {path}: unknown field {name}; known are {', '.join(sorted(known))}"
                )
            wanted = known[name].type
            if wanted is float and isinstance(value, int):
                value = float(value)
            if type(value) is not wanted:
                expected = getattr(wanted, "__name__", str(wanted))
                raise UsageError(f"cannot use {path}: {name}: expected {expected}, found {value!r}")
            values[known[name].name] = value
    return values


def writable() -> dict[str, Field[Any]]:
    """The fields that people may write, by their camelCase names."""
    return {_camel(it.name): it for it in fields(ClusterConfig) if it.name not in _OURS}


def merged(*layers: Mapping[str, Any]) -> ClusterConfig:
    """Return the defaults overlaid by each layer in turn; None values are left out."""
    values = {k: v for layer in layers for k, v in layer.items() if v is not None}
    return ClusterConfig(**values)


def _camel(name: str) -> str:
    from netpod.api import codec

    special = {"outside_cidr": "outsideCIDR", "underlay_cidr": "underlayCIDR", "lb_cidr": "lbCIDR"}
    return special.get(name) or codec.json_name(name)
