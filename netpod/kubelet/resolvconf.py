"""What a pod finds in /etc/resolv.conf, /etc/hosts and as its host name (pure).

Source: kubernetes pkg/kubelet/network/dns/dns.go, pkg/kubelet/kubelet_pods.go.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netpod.api.pod import Pod

NAMESERVERS = 3
SEARCHES = 32
SEARCH_CHARACTERS = 2048
_DEFAULT_OPTIONS = ("ndots:5",)
KERNEL_NAME = 64
"""Longest name of a host, in characters. Source: sethostname(2), __NEW_UTS_LEN."""


@dataclass(frozen=True, slots=True)
class Resolver:
    """A resolv.conf, or what of it a policy takes."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse(text: str) -> Resolver:
    """Read a resolv.conf; the last `search` or `domain` line wins. Source: resolv.conf(5)."""
    nameservers: list[str] = []
    searches: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        match words:
            case ["nameserver", address, *_]:
                nameservers.append(address)
            case ["search" | "domain", *names]:
                searches = tuple(names)
            case ["options", *more]:
                options += more
    return Resolver(tuple(nameservers), searches, tuple(options))


def resolv_conf(pod: Pod, cluster_dns: Sequence[str], domain: str, node: Resolver) -> str:
    """Text of the pod's resolv.conf.

    Args:
        pod: Its dnsPolicy and dnsConfig decide.
        cluster_dns: Addresses of the cluster's name servers.
        domain: The cluster's zone.
        node: The node's own resolver.
    """
    spec = pod.spec
    policy = spec.dns_policy or "ClusterFirst"
    if policy == "ClusterFirst" and spec.host_network:
        policy = "Default"
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet") and cluster_dns:
        namespace = pod.metadata.namespace
        own = (f"{namespace}.svc.{domain}", f"svc.{domain}", domain)
        base = Resolver(tuple(cluster_dns), own + node.searches, _DEFAULT_OPTIONS)
    elif policy == "None":
        base = Resolver()
    else:
        base = node
    config = spec.dns_config
    if config is not None:
        more = (f"{o.name}:{o.value}" if o.value else o.name for o in config.options)
        base = Resolver(
            base.nameservers + config.nameservers,
            base.searches + config.searches,
            _merge_options(base.options, more),
        )
    return render(_limit(base))


def render(resolver: Resolver) -> str:
    """Text of a resolv.conf."""
    lines = []
    if resolver.searches:
        lines.append("search " + " ".join(resolver.searches))
    lines += [f"nameserver {address}" for address in resolver.nameservers]
    if resolver.options:
        lines.append("options " + " ".join(resolver.options))
    return "\n".join(lines) + "\n"


def hosts(pod: Pod, pod_ips: Sequence[str], domain: str) -> str:
    """Text of the pod's /etc/hosts."""
    name = hostname(pod)
    names = [name]
    if pod.spec.subdomain:
        names.insert(0, full_name(pod, domain))
    lines = [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
        *("\t".join([pod_ip, *names]) for pod_ip in pod_ips),
    ]
    return "\n".join([*lines, *_aliases(pod)]) + "\n"


def node_hosts(pod: Pod, node: str) -> str:
    """Text of /etc/hosts of a pod on the host network: the node's own, and the pod's aliases."""
    head = "# Kubernetes-managed hosts file (host network)."
    return "\n".join([head, node.rstrip("\n"), *_aliases(pod)]) + "\n"


def _aliases(pod: Pod) -> list[str]:
    found = [
        "\t".join([alias.ip, *alias.hostnames])
        for alias in pod.spec.host_aliases
        if alias.hostnames
    ]
    return ["", "# Entries added by HostAliases.", *found] if found else []


def full_name(pod: Pod, domain: str) -> str:
    """The pod's name below its subdomain; without one, its host name."""
    name = hostname(pod)
    if not pod.spec.subdomain:
        return name
    return f"{name}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{domain}"


def kernel_name(pod: Pod, domain: str, node: str) -> str:
    """What the kernel calls the pod: its host name, the full one if it asks for that, the node's on its network.

    Raises:
        ValueError: the kernel takes no name so long.

    Source: kubernetes pkg/kubelet/util GetNodenameForKernel.
    """
    if pod.spec.host_network:
        return node
    if not pod.spec.set_hostname_as_fqdn:
        return hostname(pod)
    name = full_name(pod, domain)
    if len(name) > KERNEL_NAME:
        raise ValueError(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {name} is too long "
            f"({KERNEL_NAME} characters is the max, {len(name)} characters requested)"
        )
    return name


def hostname(pod: Pod) -> str:
    """What the pod calls itself: spec.hostname or its name, at most 63 characters."""
    return (pod.spec.hostname or pod.metadata.name)[:63].rstrip("-.")


def _limit(resolver: Resolver) -> Resolver:
    searches: list[str] = []
    length = 0
    for name in dict.fromkeys(resolver.searches):
        length += len(name) + bool(searches)
        if len(searches) == SEARCHES or length > SEARCH_CHARACTERS:
            break
        searches.append(name)
    nameservers = tuple(dict.fromkeys(resolver.nameservers))[:NAMESERVERS]
    return Resolver(nameservers, tuple(searches), resolver.options)


def _merge_options(base: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    merged = {option.partition(":")[0]: option for option in base}
    merged.update({option.partition(":")[0]: option for option in more})
    return tuple(merged.values())
