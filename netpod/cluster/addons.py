"""What is in every cluster from the start, as ordinary objects: DNS, ingress, kube-proxy's configuration.

Names follow kubeadm's and ingress-nginx's habits, so that what people type elsewhere works here.
"""

from netpod.api.apps import Deployment, DeploymentSpec
from netpod.api.core import ConfigMap
from netpod.api.meta import Json, LabelSelector, Object, ObjectMeta
from netpod.api.networking import IngressClass, IngressClassSpec
from netpod.api.pod import (
    Affinity,
    Container,
    ContainerPort,
    EnvVar,
    PodSpec,
    PodTemplateSpec,
    Toleration,
)
from netpod.api.service import Service, ServicePort, ServiceSpec
from netpod.api.storage import StorageClass
from netpod.cluster import keys
from netpod.cluster.config import ClusterConfig
from netpod.proxy import configmap
from netpod.proxy.config import Mode

SYSTEM = "kube-system"
CONTROL_PLANE_TAINT = "node-role.kubernetes.io/control-plane"
DNS_RELAY = "resolver.sock"
"""Where cluster DNS asks for names outside the cluster, in the cluster's folder of /run/netpod."""
INGRESS_CONTROLLER = "netpod.dev/ingress"
DNS_REPLICAS = 2
"""As kubeadm has it: names resolve while one of them, or its node, is away."""


def objects(config: ClusterConfig) -> tuple[Object, ...]:
    """Return the add-ons of a cluster, in the order to create them."""
    return (_proxy(config), _storage(), *_dns(config), *_ingress(config))


def _storage() -> StorageClass:
    """The default class: a directory of this machine for each claim, gone with the claim."""
    return StorageClass(
        metadata=ObjectMeta(
            name="standard",
            annotations={"storageclass.kubernetes.io/is-default-class": "true"},
        ),
        provisioner="netpod.dev/host-path",
        reclaim_policy="Delete",
        volume_binding_mode="Immediate",
    )


def _proxy(config: ClusterConfig) -> ConfigMap:
    """What kubeadm writes for kube-proxy; every node's proxy follows it."""
    text = configmap.configuration(
        Mode(config.proxy_mode),
        clusterCIDR=config.pod_cidr,
        ipvs={"scheduler": config.ipvs_scheduler},
    )
    return ConfigMap(
        metadata=ObjectMeta(
            name=configmap.NAME, namespace=configmap.NAMESPACE, labels={"app": "kube-proxy"}
        ),
        data={configmap.KEY: text},
    )


def _dns(config: ClusterConfig) -> tuple[Object, ...]:
    labels = {"k8s-app": "kube-dns"}
    service = Service(
        metadata=ObjectMeta(
            name="kube-dns",
            namespace=SYSTEM,
            labels={
                **labels,
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
            annotations={"prometheus.io/port": "9153", "prometheus.io/scrape": "true"},
        ),
        spec=ServiceSpec(
            selector=labels,
            cluster_ip=str(config.dns_ips[0]),
            cluster_ips=tuple(map(str, config.dns_ips)),
            ip_family_policy=_policy(config),
            ports=(
                ServicePort(name="dns", port=53, protocol="UDP", target_port=53),
                ServicePort(name="dns-tcp", port=53, protocol="TCP", target_port=53),
                ServicePort(name="metrics", port=9153, protocol="TCP", target_port=9153),
            ),
        ),
    )
    ports = (
        ContainerPort(name="dns", container_port=53, protocol="UDP"),
        ContainerPort(name="dns-tcp", container_port=53, protocol="TCP"),
        ContainerPort(name="metrics", container_port=9153, protocol="TCP"),
    )
    relay = EnvVar(name="DNS_RELAY", value=str(config.paths.run / DNS_RELAY))
    env = (relay,) if config.dns_forward else ()
    return service, _deployment(config, "dns", labels, "netpod.dev/dns", ports, *env)


def _ingress(config: ClusterConfig) -> tuple[Object, ...]:
    labels = {"app.kubernetes.io/name": "ingress", "app.kubernetes.io/component": "controller"}
    ingress_class = IngressClass(
        metadata=ObjectMeta(
            name="netpod",
            annotations={"ingressclass.kubernetes.io/is-default-class": "true"},
        ),
        spec=IngressClassSpec(controller=INGRESS_CONTROLLER),
    )
    service = Service(
        metadata=ObjectMeta(name="ingress", namespace=SYSTEM, labels=labels),
        spec=ServiceSpec(
            type="LoadBalancer",
            selector=labels,
            ip_family_policy=_policy(config),
            ports=(
                ServicePort(name="http", port=80, protocol="TCP", target_port="http"),
                ServicePort(name="https", port=443, protocol="TCP", target_port="https"),
            ),
        ),
    )
    ports = (
        ContainerPort(name="http", container_port=80, protocol="TCP"),
        ContainerPort(name="https", container_port=443, protocol="TCP"),
        ContainerPort(name="health", container_port=10254, protocol="TCP"),
    )
    certificate = EnvVar(name="DEFAULT_CERTIFICATE", value=str(keys.default_certificate(config)))
    deployment = _deployment(config, "ingress", labels, "netpod.dev/ingress", ports, certificate)
    return ingress_class, service, deployment


def _policy(config: ClusterConfig) -> str:
    """Cluster DNS and ingress are reached in every family that the cluster has."""
    return "RequireDualStack" if len(config.families) > 1 else "SingleStack"


def _deployment(
    config: ClusterConfig,
    name: str,
    labels: dict[str, str],
    image: str,
    ports: tuple[ContainerPort, ...],
    *env: EnvVar,
) -> Deployment:
    # A program asks once which families it should listen on.
    pod_ips = EnvVar(name="POD_IPS", value_from={"fieldRef": {"fieldPath": "status.podIPs"}})
    container = Container(
        name=name,
        image=image,
        ports=ports,
        env=(EnvVar(name="KUBECONFIG", value=str(keys.kubeconfig(config, name))), pod_ips, *env),
    )
    # The add-ons belong to the cluster, not to its users: they may stand on the control plane node.
    toleration = Toleration(key=CONTROL_PLANE_TAINT, operator="Exists", effect="NoSchedule")
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels=labels),
        spec=PodSpec(
            containers=(container,),
            tolerations=(toleration,) if name == "dns" else (),
            termination_grace_period_seconds=5,
            priority_class_name="system-cluster-critical",
            affinity=_apart(config, labels) if name == "dns" else None,
        ),
    )
    return Deployment(
        metadata=ObjectMeta(name=name, namespace=SYSTEM, labels=labels),
        spec=DeploymentSpec(
            replicas=DNS_REPLICAS if name == "dns" else 1,
            selector=LabelSelector(match_labels=labels),
            template=template,
        ),
    )


def _apart(config: ClusterConfig, labels: dict[str, str]) -> Affinity:
    """On different nodes, where there are several; a preference alone would put all on the node that is there first."""
    term = {
        "labelSelector": {"matchLabels": labels},
        "topologyKey": "kubernetes.io/hostname",
    }
    rules: dict[str, Json]
    if len(config.nodes) > 1:
        rules = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    else:
        preferred = {"weight": 100, "podAffinityTerm": term}
        rules = {"preferredDuringSchedulingIgnoredDuringExecution": [preferred]}
    return Affinity(pod_anti_affinity=rules)
