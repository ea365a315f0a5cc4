"""ClusterConfig: everything that may differ between two clusters, checked before anything is made.

Kept as JSON in /var/lib/netpod/NAME/config.json, so that a restarted process finds what its predecessor had.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import Field, asdict, dataclass, fields, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import orjson

from netpod.api import codec
from netpod.apiserver.storeconfig import StoreConfig
from netpod.cluster import machine, publish
from netpod.cluster.machine import Machine, Power
from netpod.errors import BadRequest, UsageError
from netpod.paths import Paths, is_cluster_name
from netpod.proxy.config import Mode, Variant

MAX_WORKERS = 200
_OURS = ("machines", "stopped")
_NETWORKS = {
    "outside_cidr": "outside",
    "underlay_cidr": "underlay",
    "pod_cidr": "pod",
    "service_cidr": "service",
    "lb_cidr": "load balancer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """One node: its name, its address on the underlay, and whether it shall run."""

    name: str
    address: IPv4Interface
    control_plane: bool
    power: Power = Power.ON


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """One cluster.

    Attributes:
        name: A DNS label of at most 40 characters; part of every namespace's and file's name.
        workers: Number of worker nodes, 0..200; with 0 the control plane node takes pods.
        api_port: Port of the API server on 127.0.0.1; 0 takes a free one at the first start.
        proxy_mode: How Services become rules: iptables or nftables; ConfigMap kube-system/kube-proxy may change it.
        iptables_variant: nft, the distribution's, or legacy, through libiptc; for proxy mode iptables.
        stand_in: Whether an image that is not on this machine is stood in for.
        allow_host_path: Directories of the machine that hostPath volumes may be below, separated by colons; "" is none.
        publish: Ports of 127.0.0.1 that lead into the cluster, see publish.py; "" for none.
        dns_forward: Whether cluster DNS asks this machine's name servers for names outside the cluster.
        store: Where objects are kept, with its TLS files; see StoreConfig.
        node_monitor_grace_seconds: After this silence a node is NotReady.
        fast_failure: Whether that, and what follows from it, comes in a tenth of the time.
        machines: The nodes there are, once they are not those `workers` says; not for people to write.
        stopped: Whether the cluster shall not run now; not for people to write.
    """

    name: str = "netpod"
    workers: int = 2
    outside_cidr: str = "203.0.113.0/24"
    underlay_cidr: str = "172.18.0.0/16"
    pod_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/16"
    lb_cidr: str = "198.51.100.0/24"
    node_port_range: str = "30000-32767"
    api_port: int = 0
    proxy_mode: str = Mode.IPTABLES.value
    iptables_variant: str = Variant.NFT.value
    stand_in: bool = True
    publish: str = publish.DEFAULT
    dns_forward: bool = False
    allow_host_path: str = ""
    store: str = ""
    store_ca: str = ""
    store_cert: str = ""
    store_key: str = ""
    node_monitor_grace_seconds: float = 50.0
    fast_failure: bool = False
    machines: tuple[Machine, ...] = ()
    stopped: bool = False

    @property
    def paths(self) -> Paths:
        """Names and places of this cluster."""
        return Paths(self.name)

    @property
    def nodes(self) -> tuple[NodeConfig, ...]:
        """Nodes in order of their addresses: control-plane, worker, worker2, ..."""
        network = ipaddress.IPv4Network(self.underlay_cidr)
        return tuple(
            NodeConfig(
                name=it.name,
                address=IPv4Interface(f"{network[it.number + 2]}/{network.prefixlen}"),
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
    def patience(self) -> float:
        """What upstream's timings of failing nodes are multiplied by."""
        return 0.1 if self.fast_failure else 1.0

    @property
    def edge_underlay(self) -> IPv4Interface:
        """The edge router's address on the underlay: the first."""
        return _member(self.underlay_cidr, 1)

    @property
    def edge_outside(self) -> IPv4Interface:
        """The edge router's address in the world: the first."""
        return _member(self.outside_cidr, 1)

    @property
    def client_address(self) -> IPv4Interface:
        """The client outside the cluster: the tenth."""
        return _member(self.outside_cidr, 10)

    @property
    def control_plane_ip(self) -> IPv4Address:
        """The control plane node's address."""
        return self.nodes[0].address.ip

    @property
    def kubernetes_ip(self) -> IPv4Address:
        """Cluster IP of default/kubernetes: the first of the Service network."""
        return IPv4Network(self.service_cidr)[1]

    @property
    def dns_ip(self) -> IPv4Address:
        """Cluster IP of kube-system/kube-dns: the tenth of the Service network."""
        return IPv4Network(self.service_cidr)[10]

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

    def check(self, host_routes: Sequence[tuple[IPv4Network, str]] = ()) -> None:
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
        self.store_config.endpoints()
        publish.parse(self.publish)
        if self.iptables_variant not in list(Variant):
            known = ", ".join(Variant)
            raise UsageError(
                f"cannot use iptables variant {self.iptables_variant!r}: there are {known}"
            )
        self._check_networks(host_routes)

    def _check_networks(self, host_routes: Sequence[tuple[IPv4Network, str]]) -> None:
        smallest = {
            "outside_cidr": 28,
            "underlay_cidr": 29,
            "pod_cidr": 23,
            "service_cidr": 26,
            "lb_cidr": 30,
        }
        networks: dict[str, IPv4Network] = {}
        for field, what in _NETWORKS.items():
            text, option = getattr(self, field), _option(field)
            try:
                network = IPv4Network(text)
            except ValueError as error:
                raise UsageError(
                    f"cannot use {what} network {text!r} ({option}): {error}"
                ) from None
            if (
                network.is_loopback
                or network.is_multicast
                or network.is_link_local
                or not int(network[0])
            ):
                raise UsageError(
                    f"cannot use {what} network {text} ({option}): no loopback, link-local or multicast addresses"
                )
            if network.prefixlen > smallest[field]:
                raise UsageError(
                    f"cannot use {what} network {text} ({option}): too small, at least /{smallest[field]}"
                )
            for other, taken in networks.items():
                if network.overlaps(taken):
                    raise UsageError(
                        f"cannot use {what} network {text} ({option}): it overlaps the "
                        f"{_NETWORKS[other]} network {taken}"
                    )
            for route, link in host_routes:
                if route.prefixlen and network.overlaps(route):
                    raise UsageError(
                        f"cannot use {what} network {text}: it overlaps this machine's route {route} "
                        f"dev {link}; choose another with {option}"
                    )
            networks[field] = network
        self.check_room()

    def check_room(self) -> None:
        """Raise unless every node can have its address and its part of the pod network.

        Raises:
            UsageError: there are more nodes than that.
        """
        nodes = self.nodes
        count = len(nodes)
        if count > MAX_WORKERS + 1:
            raise UsageError(f"cannot use {count} nodes; allowed are {MAX_WORKERS + 1}")
        pod_networks = 2 ** max(0, 24 - IPv4Network(self.pod_cidr).prefixlen)
        if count > pod_networks:
            raise UsageError(
                f"cannot use pod network {self.pod_cidr} (--pod-cidr): {count} nodes need a /24 "
                f"each, it holds {pod_networks}"
            )
        if count + 2 >= IPv4Network(self.underlay_cidr).num_addresses:
            raise UsageError(
                f"cannot use underlay network {self.underlay_cidr} (--underlay-cidr): too small for "
                f"{count} nodes"
            )

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
        UsageError: there is none, or this kernel cannot do it.
    """
    try:
        return Mode(text)
    except ValueError:
        known = ", ".join(Mode)
        raise UsageError(f"cannot use proxy mode {text!r}: there are {known}") from None


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
        raise UsageError(f"no cluster {name} is up; start one with: sudo netpod up") from None
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
    config = ClusterConfig()
    for layer in layers:
        config = replace(config, **{k: v for k, v in layer.items() if v is not None})
    return config


def _member(cidr: str, number: int) -> IPv4Interface:
    network = IPv4Network(cidr)
    return IPv4Interface(f"{network[number]}/{network.prefixlen}")


def _option(field: str) -> str:
    return "--" + field.replace("_", "-")


def _camel(name: str) -> str:
    special = {"outside_cidr": "outsideCIDR", "underlay_cidr": "underlayCIDR", "lb_cidr": "lbCIDR"}
    return special.get(name) or codec.json_name(name)
