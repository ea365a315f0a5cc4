"""What a target's words mean: URL, `svc/NAME[:PORT]`, `pod/NAME[:PORT]`, `node/NAME:PORT`, ADDRESS:PORT.

A name in a URL goes where its user's resolver would send it: from outside to the load balancer of the ingress, as its
public DNS entry would say; from a node or pod to what the cluster's DNS answers (see lookup.py).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from netpod.api.meta import Key
from netpod.api.service import Service, ServicePort
from netpod.errors import NetpodError, NotFound, UsageError
from netpod.ip import Address as IPAddress
from netpod.ip import Family, address_of, family_of
from netpod.trace import where
from netpod.trace.families import choose, cluster_ips, node_ips, pod_ips
from netpod.trace.model import Address
from netpod.trace.objects import INGRESS_SERVICE, ClusterObjects, gateway_of_host, load_balancer_ips
from netpod.trace.request import Kind

Resolve = Callable[[str], IPAddress]
"""A name → its address, as the client's resolver says; raises NotFound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to connect, and what to ask for there."""

    connect: Address
    kind: Kind
    host: str = ""
    path: str = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads targets for one client.

    Attributes:
        outside: Whether the client is outside the cluster: cluster IPs do not exist there.
        resolve: Its resolver, asked for names that are no address.
        family: Of the address to connect to; None is the first that the target has.
    """

    objects: ClusterObjects
    namespace: str
    outside: bool
    resolve: Resolve
    family: Family | None = None

    def read(self, text: str, kind: Kind = Kind.HTTP) -> Target:
        """Return what a target means.

        Raises:
            UsageError: it is not a target, or cannot be reached from where the client stands.
            NotFound: it names something that is not there.
            NetpodError: the ingress has no load balancer address.
        """
        if "://" in text:
            return self._url(text)
        if not text or any(ord(c) <= 32 or ord(c) > 126 for c in text):
            raise UsageError(f"cannot trace {text!r}: it is no target")
        what, slash, rest = text.partition("/")
        if slash:
            name, port = _split(rest, text)
            if what in ("svc", "service", "services"):
                return self._service(text, name, port, kind)
            if what in ("pod", "pods", "po"):
                return self._pod(text, name, port, kind)
            if what in ("node", "nodes", "no"):
                return self._node(text, name, port, kind)
            raise UsageError(
                f"cannot trace {text}: say svc/NAME, pod/NAME, node/NAME:PORT or http://..."
            )
        host, port = _split(text, text)
        if not port and kind is not Kind.ICMP:
            if kind is Kind.DNS:
                port = 53
            else:
                raise UsageError(f"cannot trace {text}: say http://{text}/ or {text}:PORT")
        return Target(connect=Address(self._address(host), port), kind=kind, host=_host(host, port))

    def _url(self, url: str) -> Target:
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise UsageError(f"cannot trace {url}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"cannot trace {url}: it must begin with http:// and name a host")
        if any(ord(c) <= 32 or ord(c) > 126 for c in parts.netloc + parts.path + parts.query):
            raise UsageError(f"cannot trace {url!r}: spaces and unusual characters must be escaped")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        usual = 443 if parts.scheme == "https" else 80
        return Target(
            connect=Address(self._web(url, parts.hostname), port),
            kind=Kind(parts.scheme),
            host=_host(parts.hostname, 0 if port == usual else port),
            path=path,
        )

    def _web(self, url: str, host: str) -> IPAddress:
        """A host of the world is the ingress', or a Gateway's; from inside only when a rule says so, else DNS knows."""
        if _is_address(host):
            return self._first((host,), url)
        hosts = {r.host for i in self.objects.ingresses for r in i.spec.rules}
        gateway = gateway_of_host(self.objects, host) if host not in hosts else None
        if gateway is not None and (found := load_balancer_ips(gateway)):
            return self._first(found, url)
        if not self.outside and host not in hosts:
            return self._address(host)
        ingress = self.objects.service(INGRESS_SERVICE)
        addresses = load_balancer_ips(ingress) if ingress is not None else ()
        if not addresses:
            raise NetpodError(
                f"cannot trace {url}: Service {'/'.join(INGRESS_SERVICE)} has no load balancer address"
            )
        return self._first(addresses, url)

    def _address(self, host: str) -> IPAddress:
        return self._first((host,), host) if _is_address(host) else self.resolve(host)

    def _first(self, texts: Iterable[str], what: str) -> IPAddress:
        return choose(texts, what, self.family)

    def _service(self, text: str, name: str, port: int, kind: Kind) -> Target:
        namespace, _, short = name.rpartition("/")
        key = Key(namespace or self.namespace, short)
        service = self.objects.service(key)
        if service is None:
            raise NotFound(f'services "{short}" not found in namespace {key.namespace}')
        wanted = _port_of(service, text, port, kind)
        host = f"{short}.{key.namespace}.svc.cluster.local"
        if not self.outside:
            if service.spec.cluster_ip in ("", "None"):
                raise UsageError(
                    f"cannot trace {text}: it has no cluster IP; trace one of its pods"
                )
            address = Address(self._first(cluster_ips(service), text), port or wanted.port)
        elif load_balancer_ips(service):
            address = Address(self._first(load_balancer_ips(service), text), port or wanted.port)
        elif wanted.node_port and self.objects.nodes:
            # A node has addresses of families in which the Service has none.
            own = family_of(self._first(cluster_ips(service), text))
            ip = choose(node_ips(self.objects.nodes[0]), text, own)
            address = Address(ip, wanted.node_port)
        else:
            raise UsageError(
                f"cannot trace {text} from outside: it is of type {service.spec.type or 'ClusterIP'};"
                " add --from pod/NAME or --from node/NAME"
            )
        return Target(connect=address, kind=kind, host=_host(host, address.port))

    def _pod(self, text: str, name: str, port: int, kind: Kind) -> Target:
        pod = where.find_pod(self.objects, name, self.namespace)
        ports = [p.container_port for c in pod.spec.containers for p in c.ports]
        if kind is Kind.ICMP:
            port = 0
        elif not port and not ports:
            raise UsageError(f"cannot trace {text}: the pod declares no port; say {text}:PORT")
        if not port and kind is not Kind.ICMP:
            port = ports[0]
        address = Address(self._first(pod_ips(pod), text), port)
        return Target(connect=address, kind=kind, host=_host(str(address.ip), address.port))

    def _node(self, text: str, name: str, port: int, kind: Kind) -> Target:
        for node in self.objects.nodes:
            if node.metadata.name == name:
                ips = node_ips(node)
                if not ips:
                    raise NotFound(f'nodes "{name}" has no address')
                if not port and kind is not Kind.ICMP:
                    raise UsageError(f"cannot trace {text}: say which port, {text}:PORT")
                own = self._first(ips, text)
                return Target(connect=Address(own, port), kind=kind, host=_host(str(own), port))
        raise NotFound(f'nodes "{name}" not found')


def _is_address(text: str) -> bool:
    return any(address_of(text, family) for family in Family)


def _split(text: str, whole: str) -> tuple[str, int]:
    """NAME[:PORT]; no port is 0. An IPv6 address with a port is in brackets, as in a URL."""
    if _is_address(text.strip("[]")):
        return text.strip("[]"), 0
    name, colon, port = text.rpartition(":")
    if not colon:
        return text, 0
    if not port.isdigit() or not 0 < int(port) < 65536 or not name:
        raise UsageError(f"cannot trace {whole}: {port!r} is no port")
    return name.strip("[]"), int(port)


def _host(host: str, port: int) -> str:
    """As it stands in the Host header: with the port that is not usual, an IPv6 address in brackets."""
    name = f"[{host}]" if ":" in host else host
    return name if port in (0, 80) else f"{name}:{port}"


def _port_of(service: Service, text: str, port: int, kind: Kind) -> ServicePort:
    """The port asked for, or the first of the right protocol; one that the Service lacks is traced all the same."""
    protocol = "UDP" if kind in (Kind.UDP, Kind.DNS) else "TCP"
    ports = [p for p in service.spec.ports if (p.protocol or "TCP") == protocol]
    if port:
        return next((p for p in ports if p.port == port), ServicePort(port=port))
    if not ports:
        raise UsageError(f"cannot trace {text}: it has no {protocol} port; say {text}:PORT")
    return ports[0]
