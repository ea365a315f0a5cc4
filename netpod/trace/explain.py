"""`netpod explain`: what would become of a request, and (`check`) whether a trace of it says the same."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from netpod.api.service import Service
from netpod.ip import Address as IPAddress
from netpod.ip import Family, family_of, host_port, of_family
from netpod.paths import Paths
from netpod.trace import run, where
from netpod.trace.model import Address, Leg, Trace, Verdict
from netpod.trace.objects import ClusterObjects, gateway_of, route_ingress
from netpod.trace.predict.packet import Mock, Routed
from netpod.trace.predict.walk import Outcome, Walker
from netpod.trace.request import Kind, TraceRequest
from netpod.trace.run import Question
from netpod.trace.topology import World

if TYPE_CHECKING:
    from netpod.ingress.gateway import plan

PORT = 50000
"""Any port that no rule speaks of: the client's is not chosen yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Onward:
    """What an ingress pod does with the request it gets.

    Attributes:
        rule: In words: the rule that matches and its Service, or why there is none.
        outcomes: All that may become of the proxy's own connection; empty when it opens none and answers itself.
        redirects: Whether that answer is a redirect that the rule asks for.
    """

    rule: str
    outcomes: tuple[Outcome, ...]
    redirects: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """All that may become of a request.

    Attributes:
        outcomes: Of the client's connection.
        onward: Of the proxy's, by the namespace of the ingress pod; empty when no ingress reads the request.
    """

    request: TraceRequest
    world: World
    outcomes: tuple[Outcome, ...]
    onward: Mapping[str, Onward]

    @property
    def verdicts(self) -> frozenset[Verdict]:
        """The verdicts that are possible."""
        found: set[Verdict] = set()
        for outcome in self.outcomes:
            then = self.onward.get(outcome.stops[-1].netns)
            if outcome.verdict is not Verdict.DELIVERED or then is None:
                found.add(outcome.verdict)
            elif then.outcomes:
                found |= {o.verdict for o in then.outcomes}
            else:
                found.add(Verdict.DELIVERED if then.redirects else Verdict.REFUSED)
        return frozenset(found)


def explain(
    paths: Paths,
    question: Question,
    objects: ClusterObjects,
    *,
    walker: Walker | None = None,
    gateways: "plan.World | None" = None,
) -> Prediction:
    """Predict from the live rules, routes, links and listeners; nothing is sent but, for a name, a DNS query.

    Args:
        paths: The cluster's names.
        question: What would be sent, from where, to where.
        objects: The cluster's objects.
        walker: One that has read rules and routes already: they are then believed to be the same still.
        gateways: What the ingress controller sees of Gateways; None where there are none.

    Raises:
        UsageError: source or target cannot be read.
        NotFound: they name something that is not there.
        KernelError: rules or routes could not be read.
    """
    place = where.resolve(paths, objects, question.source, question.namespace)
    request = run.request_of(question, objects, place)
    world = run.world_of(paths, objects, place, request)
    walker = walker or Walker(world)
    packet = Mock(
        source=_source(walker, request),
        destination=request.connect.ip,
        protocol=request.protocol_name,
        source_port=PORT,
        destination_port=request.connect.port,
    )
    outcomes = tuple(dict.fromkeys(walker.walk(request.netns, packet)))
    onward = {}
    entrance = objects.entrance(request.connect) if request.http else None
    if entrance is not None:
        doors = {o.stops[-1].netns for o in outcomes if o.verdict is Verdict.DELIVERED}
        routed = _match(objects, request, entrance, gateways)
        onward = {
            door: Onward(
                rule=routed.rule,
                outcomes=_onward(walker, request, routed.addresses, door),
                redirects=routed.redirects,
            )
            for door in sorted(doors)
        }
    return Prediction(request=request, world=world, outcomes=outcomes, onward=onward)


def _match(
    objects: ClusterObjects,
    request: TraceRequest,
    entrance: Service,
    gateways: "plan.World | None",
) -> Routed:
    """Match host and path as the proxy does: the rule in words, and what it connects to."""
    of_gateway = gateway_of(entrance)
    if of_gateway is not None and gateways is not None:
        from netpod.trace.predict import gateway

        to = request.connect.port
        ports = {p.node_port: p.port for p in entrance.spec.ports}
        return gateway.route(gateways, of_gateway, ports.get(to, to), request)
    rule, addresses, why = route_ingress(objects, request.host, request.path)
    if rule is None:
        what = f"host {request.host}, path {request.path}"
        return Routed(rule=f"no rule serves {what}: the ingress answers 404")
    line = " ".join(filter(None, (rule.host, rule.path_type, rule.path)))
    words = f"Ingress {rule.ingress}, rule {line} → Service {rule.target}"
    words += "" if addresses else f": {why}; the ingress answers 503"
    return Routed(rule=words, addresses=addresses)


def _onward(
    walker: Walker, request: TraceRequest, addresses: tuple[Address, ...], door: str
) -> tuple[Outcome, ...]:
    """Follow the connection that the proxy opens to each address it may choose."""
    found: list[Outcome] = []
    for address in addresses:
        packet = Mock(
            source=_own(walker, door, family_of(address.ip)),
            destination=address.ip,
            protocol="tcp",
            source_port=request.reserved[0],
            destination_port=address.port,
        )
        found += walker.walk(door, packet)
    return tuple(dict.fromkeys(found))


def _source(walker: Walker, request: TraceRequest) -> IPAddress:
    route = walker.route(request.netns, request.connect.ip)
    return route or _own(walker, request.netns, request.family)


def _own(walker: Walker, netns: str, family: Family) -> IPAddress:
    """An address of a namespace that others can reach, the lowest; else its loopback's."""
    known = of_family(walker.topology.addresses.get(netns, ()), family)
    own = [ip for ip in known if not (ip.is_loopback or ip.is_link_local)]
    return min(own, key=int, default=ip_address("::1" if family is Family.IPV6 else "127.0.0.1"))


def disagreements(prediction: Prediction, trace: Trace) -> tuple[str, ...]:
    """Return in what a trace contradicts a prediction; empty when one of the outcomes is what happened."""
    if Verdict.INCONCLUSIVE in prediction.verdicts or trace.verdict is Verdict.INCONCLUSIVE:
        return ()
    got = trace.verdict
    if any(s.name == "answer" and s.verdict is Verdict.REFUSED for s in trace.steps):
        # What the DNS server says is not the network's doing.
        got = Verdict.DELIVERED
    if got not in prediction.verdicts:
        words = ", ".join(sorted(prediction.verdicts))
        return (f"predicted {words}, the trace says {trace.verdict}: {trace.sentence}",)
    legs = {leg.name: leg for leg in trace.legs}
    found: list[str] = []
    if prediction.onward and "upstream" in legs:
        found += _ends(prediction, legs["client"], prediction.outcomes)
        walk = legs["client"].opener
        then = prediction.onward.get(walk.path()[-1].tap.netns) if walk is not None else None
        if then is not None and got is Verdict.DELIVERED:
            found += _ends(prediction, legs["upstream"], then.outcomes)
    elif "client" in legs and got is Verdict.DELIVERED:
        found += _ends(prediction, legs["client"], prediction.outcomes)
    return tuple(found)


def _ends(prediction: Prediction, leg: Leg, outcomes: tuple[Outcome, ...]) -> list[str]:
    """Whether a connection arrived with addresses that were predicted."""
    walk = leg.opener
    if walk is None:
        return []
    flow = walk.path()[-1].packet.flow
    ends = {
        (o.end.destination, o.end.destination_port, o.end.source)
        for o in outcomes
        if o.verdict is Verdict.DELIVERED
    }
    port = 0 if prediction.request.kind is Kind.ICMP else flow.destination.port
    if (flow.destination.ip, port, flow.source.ip) in ends:
        return []
    shown = ", ".join(sorted(f"{s} → {host_port(d, p)}" for d, p, s in ends))
    return [f"predicted {shown}; it arrived as {flow}"]


def to_text(prediction: Prediction, width: int = 0) -> str:
    """Return the prediction for people: one block per outcome, with the chains that decide.

    Lines longer than `width` columns are broken; 0 leaves them whole.
    """
    lines = [f"{prediction.request.what} from {prediction.world.place(prediction.world.client)}"]
    if prediction.request.note:
        lines.append(f"  {prediction.request.note}")
    lines += _outcomes(prediction, prediction.outcomes, "outcome")
    for door, then in prediction.onward.items():
        lines += ["", f"{prediction.world.place(door)} reads the request", f"  {then.rule}"]
        lines += _outcomes(prediction, then.outcomes, "its connection, outcome")
    lines += ["", f"possible: {', '.join(sorted(prediction.verdicts))}"]
    return "\n".join(part for line in lines for part in fit(line, width))


def fit(line: str, width: int) -> list[str]:
    """Break a line that is longer than `width`, which may be 0: then it stays whole."""
    if not width or len(line) <= width:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(
        line.strip(), width, initial_indent=indent, subsequent_indent=f"{indent}    ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _outcomes(prediction: Prediction, outcomes: tuple[Outcome, ...], word: str) -> Iterator[str]:
    for number, outcome in enumerate(outcomes, 1):
        yield ""
        yield f"{word} {number} of {len(outcomes)}: {outcome.verdict}: {outcome.why}"
        for stop in outcome.stops:
            packet = stop.packet
            yield (
                f"  {prediction.world.place(stop.netns)}: {packet.source} → "
                f"{host_port(packet.destination, packet.destination_port)}"
                + (f"  out {packet.outward}" if packet.outward else "")
            )
            if packet.met:
                yield f"    {' → '.join(dict.fromkeys(packet.met))}"
        name = prediction.world.name_of(outcome.end.destination)
        yield f"  ends at {outcome.end.destination}" + (f" ({name})" if name else "")
