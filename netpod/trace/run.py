"""`netpod trace URL`: choose where to connect, look at the cluster, send the request and follow it."""

from ipaddress import AddressValueError, IPv4Address
from urllib.parse import urlsplit

from netpod.api.meta import Key
from netpod.errors import NetpodError, UsageError
from netpod.paths import Paths
from netpod.trace import session
from netpod.trace.model import Address, Trace
from netpod.trace.objects import (
    INGRESS_SERVICE,
    ClusterObjects,
    load_balancer_ips,
    match_ingress,
)
from netpod.trace.request import TraceRequest
from netpod.trace.world import observe_world


def trace_url(paths: Paths, url: str, objects: ClusterObjects, *, timeout: float = 5.0) -> Trace:
    """Send `GET url` from the client outside the cluster and follow it.

    Args:
        paths: Names of the cluster.
        url: `http://HOST[:PORT][/PATH]`. A host that is an address is connected to as it is; any other goes to the
            load balancer of the ingress Service, as its public DNS entry would say.
        objects: The cluster's Services, Ingresses, EndpointSlices, Pods and Nodes.
        timeout: Seconds of silence after which the client gives up.

    Returns:
        The trace, whatever became of the request.

    Raises:
        UsageError: the URL cannot be traced.
        NetpodError: the ingress has no load balancer address (yet), or the cluster is not up.
        KernelError: the namespaces could not be listened to.
    """
    request = request_for(paths, url, objects, timeout=timeout)
    expected = match_ingress(objects, request.host, request.path)
    target = None if expected is None else expected.target
    services = () if target is None else (Key(target.namespace, target.service),)
    world = observe_world(paths, objects, services=services)
    if world.client not in world.places:
        raise NetpodError(f"cannot trace {url}: cluster {paths.cluster} is not up")
    return session.trace_request(request, world)


def request_for(
    paths: Paths, url: str, objects: ClusterObjects, *, timeout: float = 5.0
) -> TraceRequest:
    """Return the request that a URL asks for (pure but for its random identity).

    Raises:
        UsageError: not an http URL, no host, or a port out of range.
        NetpodError: the ingress Service has no load balancer address.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError as error:
        raise UsageError(f"cannot trace {url}: {error}") from error
    if parts.scheme != "http" or not parts.hostname:
        raise UsageError(f"cannot trace {url}: it must begin with http:// and name a host")
    if any(ord(c) <= 32 or ord(c) > 126 for c in parts.netloc + parts.path + parts.query):
        raise UsageError(f"cannot trace {url!r}: spaces and unusual characters must be escaped")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return TraceRequest(
        id=session.new_id(),
        url=url,
        host=parts.hostname if port == 80 else f"{parts.hostname}:{port}",
        path=path,
        connect=Address(_connect_ip(url, parts.hostname, objects), port),
        netns=paths.netns_outside,
        timeout=timeout,
    )


def _connect_ip(url: str, host: str, objects: ClusterObjects) -> IPv4Address:
    try:
        return IPv4Address(host)
    except AddressValueError:
        pass
    ingress = objects.service(INGRESS_SERVICE)
    addresses = load_balancer_ips(ingress) if ingress is not None else ()
    if not addresses:
        raise NetpodError(
            f"cannot trace {url}: Service {'/'.join(INGRESS_SERVICE)} has no load balancer address"
        )
    return IPv4Address(addresses[0])
