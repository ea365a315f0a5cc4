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
        zone = f"{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{domain}"
        names.insert(0, f"{name}.{zone}")
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
    aliases = [
        "\t".join([alias.ip, *alias.hostnames])
        for alias in pod.spec.host_aliases
        if alias.hostnames
    ]
    if aliases:
        lines += ["", "# Entries added by HostAliases.", *aliases]
    return "\n".join(lines) + "\n"


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
