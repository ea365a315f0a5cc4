"""`netpod trace TARGET`: where to stand, where to connect, what to send; then send it and follow it."""

from dataclasses import dataclass

from netpod.api.meta import Key
from netpod.api.pod import Pod
from netpod.errors import NetpodError
from netpod.ip import Address as IPAddress
from netpod.ip import Family, family_of, host_port
from netpod.paths import Paths
from netpod.trace import lookup, session, target, where
from netpod.trace.families import RECORDS, among, choice, cluster_ips
from netpod.trace.model import Role, Trace
from netpod.trace.objects import (
    INGRESS_SERVICE,
    ClusterObjects,
    gateway_of,
    gateway_services_behind,
    match_ingress,
)
from netpod.trace.request import Kind, TraceRequest
from netpod.trace.topology import Place, World
from netpod.trace.world import observe_world


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the user asks for.

    Attributes:
        target: URL, svc/NAME[:PORT], pod/NAME[:PORT], node/NAME:PORT, ADDRESS:PORT.
        source: outside, node/NAME, pod/NAME.
        namespace: Of pods and Services named without one.
        kind: What is sent; a URL says it itself.
        query: Name to ask a DNS server for.
        host: Host header and TLS name in place of the target's, or "".
        timeout: Seconds of silence after which the client gives up.
        size: Payload bytes of a datagram or echo, 0 for a short one.
        whole: Never in fragments.
        ttl: Hops the packets may take, 0 for the kernel's default.
        nth: Which HTTP request on one connection is followed.
        family: Of the target's address; None is the first that it has.
        record: Type of the records that a DNS query asks for; "" is addresses of the family the query travels in.
    """

    target: str
    source: str = "outside"
    namespace: str = "default"
    kind: Kind = Kind.HTTP
    query: str = ""
    host: str = ""
    timeout: float = 5.0
    size: int = 0
    whole: bool = False
    ttl: int = 0
    nth: int = 1
    family: Family | None = None
    record: str = ""


def trace_url(paths: Paths, url: str, objects: ClusterObjects, *, timeout: float = 5.0) -> Trace:
    """Send `GET url` from the client outside the cluster and follow it; see `trace`."""
    return trace(paths, Question(target=url, timeout=timeout), objects)


def trace(paths: Paths, question: Question, objects: ClusterObjects) -> Trace:
    """Send what was asked for and follow it; see `follow`."""
    return follow(paths, question, objects).trace


def follow(
    paths: Paths, question: Question, objects: ClusterObjects, *, timing: bool = False
) -> session.Followed:
    """Send what was asked for and follow it.

    A name that the cluster's DNS does not know is a trace too: that of the DNS query.

    Args:
        paths: Names of the cluster.
        question: What to send, from where, to where.
        objects: The cluster's Services, Ingresses, EndpointSlices, Pods and Nodes.
        timing: Only capture, trace no rule.

    Returns:
        The trace, whatever became of the request, and its frames.

    Raises:
        UsageError: source or target cannot be read.
        NotFound: they name something that is not there.
        NetpodError: the ingress has no load balancer address (yet), or the cluster is not up.
        KernelError: the namespaces could not be listened to.
    """
    place = where.resolve(paths, objects, question.source, question.namespace)
    try:
        request = request_of(question, objects, place)
    except lookup.NoSuchName as missing:
        at = Question(
            target=host_port(missing.server, 53),
            source=question.source,
            namespace=question.namespace,
            kind=Kind.DNS,
            query=missing.query,
            timeout=question.timeout,
        )
        request = request_of(at, objects, place)
    world = world_of(paths, objects, place, request)
    return session.follow(request, world, timing=timing)


def request_for(
    paths: Paths, url: str, objects: ClusterObjects, *, timeout: float = 5.0
) -> TraceRequest:
    """Return the request that a URL from outside asks for (pure but for its random identity)."""
    place = Place(netns=paths.netns_outside, role=Role.OUTSIDE)
    return request_of(Question(target=url, timeout=timeout), objects, place)


def request_of(question: Question, objects: ClusterObjects, place: Place) -> TraceRequest:
    """Return the request that a question asks for.

    Raises:
        UsageError: the target cannot be read.
        NotFound: it names something that is not there; NoSuchName when DNS says so.
    """
    namespace = place.pod.namespace if place.pod is not None else question.namespace
    names: list[str] = []

    def resolve(name: str) -> IPAddress:
        family = question.family
        known = _service_ips(objects, name, namespace) if question.kind is Kind.DNS else ()
        found = [ip for ip in known if family in (None, family_of(ip))]
        found = found or list(lookup.resolve(objects, place.netns, namespace, name, family=family))
        names.append(f"{name} is {' and '.join(map(str, found))}, by the cluster's DNS")
        return found[0]

    reader = target.Reader(
        objects=objects,
        namespace=question.namespace,
        outside=place.role in (Role.OUTSIDE, Role.EDGE),
        resolve=resolve,
        family=question.family,
    )
    found = reader.read(question.target, question.kind)
    if str(found.connect.ip) not in question.target:
        names.append(choice(objects, found.connect.ip))
    return TraceRequest(
        id=session.new_id(),
        url=question.target,
        host=question.host or found.host,
        path=found.path,
        connect=found.connect,
        netns=place.netns,
        timeout=question.timeout,
        kind=found.kind,
        query=question.query.rstrip("."),
        size=question.size,
        whole=question.whole,
        ttl=question.ttl,
        nth=question.nth,
        record=question.record or RECORDS[family_of(found.connect.ip)],
        note="; ".join(filter(None, names)),
    )


def world_of(paths: Paths, objects: ClusterObjects, place: Place, request: TraceRequest) -> World:
    """Find the namespaces that a request may cross.

    Raises:
        NetpodError: the cluster is not up.
    """
    services = []
    service = objects.service_at(request.connect)
    if service is not None:
        services.append(Key(service.metadata.namespace, service.metadata.name))
        gateway = gateway_of(service)
        if gateway is not None and request.http:
            services += gateway_services_behind(objects, gateway)
    if INGRESS_SERVICE in services and request.http:
        expected = match_ingress(objects, request.host, request.path)
        if expected is not None and expected.target is not None:
            services.append(Key(expected.target.namespace, expected.target.service))
    pod = objects.pod_by_ip(request.connect.ip)
    targets: tuple[Pod, ...] = (pod,) if pod is not None else ()
    world = observe_world(paths, objects, services=services, client=place, targets=targets)
    if world.client not in world.places:
        if place.role is Role.POD:
            raise NetpodError(f"cannot trace {request.url}: {place} has no network namespace")
        if place.role is Role.NODE:
            raise NetpodError(f"cannot trace {request.url}: {place} is stopped")
        raise NetpodError(f"cannot trace {request.url}: cluster {paths.cluster} is not up")
    return world


def _service_ips(objects: ClusterObjects, name: str, namespace: str) -> list[IPAddress]:
    """Addresses of `NAME[.NAMESPACE[.svc[.cluster.local]]]`: asking DNS where DNS is would be a circle."""
    parts = name.removesuffix(f".{lookup.ZONE}").removesuffix(".svc").split(".")
    key = Key(parts[1] if len(parts) > 1 else namespace, parts[0])
    service = objects.service(key)
    return among(cluster_ips(service)) if service is not None else []
