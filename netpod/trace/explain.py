"""`netpod explain`: what would become of a request, and (`check`) whether a trace of it says the same."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from netpod.paths import Paths
from netpod.trace import run, where
from netpod.trace.model import Trace, Verdict
from netpod.trace.objects import ClusterObjects
from netpod.trace.predict.packet import Mock
from netpod.trace.predict.walk import Outcome, Walker
from netpod.trace.request import TraceRequest
from netpod.trace.run import Question
from netpod.trace.topology import World

PORT = 50000
"""Any port that no rule speaks of: the client's is not chosen yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """All that may become of a request. Through the ingress it ends at the proxy, which decides by what it reads."""

    request: TraceRequest
    world: World
    outcomes: tuple[Outcome, ...]

    @property
    def verdicts(self) -> frozenset[Verdict]:
        """The verdicts that are possible."""
        return frozenset(outcome.verdict for outcome in self.outcomes)


def explain(paths: Paths, question: Question, objects: ClusterObjects) -> Prediction:
    """Predict from the live rules, routes, links and listeners; nothing is sent but, for a name, a DNS query.

    Raises:
        UsageError: source or target cannot be read.
        NotFound: they name something that is not there.
        KernelError: rules or routes could not be read.
    """
    place = where.resolve(paths, objects, question.source, question.namespace)
    request = run.request_of(question, objects, place)
    world = run.world_of(paths, objects, place, request)
    walker = Walker(world)
    packet = Mock(
        source=_source(walker, request),
        destination=request.connect.ip,
        protocol=request.protocol_name,
        source_port=PORT,
        destination_port=request.connect.port,
    )
    outcomes = tuple(dict.fromkeys(walker.walk(request.netns, packet)))
    return Prediction(request=request, world=world, outcomes=outcomes)


def _source(walker: Walker, request: TraceRequest) -> IPv4Address:
    route = walker.route(request.netns, request.connect.ip)
    own = walker.topology.addresses.get(request.netns, frozenset())
    others = sorted(ip for ip in own if not ip.is_loopback)
    return route or (others[0] if others else IPv4Address("127.0.0.1"))


def disagreements(prediction: Prediction, trace: Trace) -> tuple[str, ...]:
    """Return in what a trace contradicts a prediction; empty when one of the outcomes is what happened."""
    found: list[str] = []
    if Verdict.INCONCLUSIVE in prediction.verdicts or trace.verdict is Verdict.INCONCLUSIVE:
        return ()
    client = next((leg for leg in trace.legs if leg.name == "client"), None)
    arrived = {trace.verdict}
    if client is not None and any(s.name == "ingress" for s in trace.steps):
        # What the proxy does with the request is not the network's: it got it, or not.
        got = next(s for s in trace.steps if s.name == "ingress").verdict
        arrived = {got if got is Verdict.DELIVERED else trace.verdict}
    if any(s.name == "answer" and s.verdict is Verdict.REFUSED for s in trace.steps):
        arrived = {Verdict.DELIVERED}
    if not arrived & prediction.verdicts:
        words = ", ".join(sorted(prediction.verdicts))
        found.append(f"predicted {words}, the trace says {trace.verdict}: {trace.sentence}")
    elif client is not None and arrived == {Verdict.DELIVERED}:
        walk = max(client.opening, key=lambda w: len(w.path()))
        flow = walk.path()[-1].packet.flow
        ends = {
            (o.end.destination, o.end.destination_port, o.end.source)
            for o in prediction.outcomes
            if o.verdict is Verdict.DELIVERED
        }
        port = 0 if prediction.request.protocol == 1 else flow.destination.port
        if (flow.destination.ip, port, flow.source.ip) not in ends:
            shown = ", ".join(f"{s} → {d}:{p}" for d, p, s in sorted(ends))
            found.append(f"predicted {shown}; it arrived as {flow}")
    return tuple(found)


def to_text(prediction: Prediction) -> str:
    """Return the prediction for people: one block per outcome, with the chains that decide."""
    lines = [f"{prediction.request.what} from {prediction.world.place(prediction.world.client)}"]
    if prediction.request.note:
        lines.append(f"  {prediction.request.note}")
    count = len(prediction.outcomes)
    for number, outcome in enumerate(prediction.outcomes, 1):
        lines += ["", f"outcome {number} of {count}: {outcome.verdict}: {outcome.why}"]
        for stop in outcome.stops:
            packet = stop.packet
            lines.append(
                f"  {prediction.world.place(stop.netns)}: {packet.source} → "
                f"{packet.destination}:{packet.destination_port}"
                + (f"  out {packet.outward}" if packet.outward else "")
            )
            if packet.met:
                lines.append(f"    {' → '.join(dict.fromkeys(packet.met))}")
        name = prediction.world.name_of(outcome.end.destination)
        lines.append(f"  ends at {outcome.end.destination}" + (f" ({name})" if name else ""))
    return "\n".join(lines)
