"""The steps of a request that no ingress takes part in: those that apply, in order (pure).

client   [load balancer]   [Service]   [kube-proxy]   container | destination   the way back   [answer]
"""

from dataclasses import replace

from netpod.api.meta import Key
from netpod.api.service import Service
from netpod.trace import causes
from netpod.trace.findings import Findings
from netpod.trace.model import Confidence, Evidence, Hop, Role, Source, Step, Verdict
from netpod.trace.request import Kind
from netpod.trace.steps import external_policy, load_balancer, step_of, stuck, with_evidence


def steps(found: Findings) -> tuple[Step, ...]:
    """Return the steps that apply to this request."""
    hops = found.opening(found.client)
    service = found.world.objects.service_at(found.request.connect)
    made = [_client(found, hops)]
    if any(found.role(h) is Role.EDGE and h.nat is not None for h in hops):
        made.append(load_balancer(found))
    if service is not None:
        made.append(_service(found, service))
    proxying = next((i for i, h in enumerate(hops) if _proxied(found, h)), None)
    if proxying is not None:
        made.append(_kube_proxy(found, hops, proxying))
    elif service is not None:
        made.append(_lost_before_proxy(found, hops))
    made.append(_arrival(found, hops, proxying))
    made.append(_way_back(found))
    if found.request.kind is Kind.DNS and found.answer.reason:
        made.append(_answer(found))
    return tuple(replace(step, number=n) for n, step in enumerate(made, 1))


def _client(found: Findings, hops: tuple[Hop, ...]) -> Step:
    """The first packet leaves the client's socket."""
    if not hops and found.answer.cause:
        who = found.world.place(found.world.client)
        step = step_of(
            1, "client", f"{who} does not send it: {found.answer.error}", (),
            {"request": found.request.what, "cause": found.answer.cause},
            verdict=causes.verdict(found.answer.cause),
        )  # fmt: skip
        said = Evidence(source=Source.CLIENT, reference="send: EMSGSIZE")
        return with_evidence(step, (said,))
    if not hops or hops[0].netns != found.world.client:
        return stuck(1, "client", found, found.client, (), "no packet was seen leaving the client")
    hop, request = hops[0], found.request
    to = found.world.name_of(hop.before.destination.ip)
    leg = found.client
    fresh = leg is None or any(w.packet.syn for w in leg.walks)
    opens = "opens a connection to" if fresh else "sends on its open connection to"
    verb = {"tcp": opens, "udp": "sends a datagram to",
            "icmp": "sends an ICMP echo to", "icmpv6": "sends an ICMPv6 echo to"}  # fmt: skip
    target = hop.before.destination.ip if request.kind is Kind.ICMP else hop.before.destination
    source = hop.before.source.ip if request.kind is Kind.ICMP else hop.before.source
    sentence = f"{found.name(hop)} ({source}) {verb[request.protocol_name]} {target}"
    sentence += f" ({to})" if to else ""
    opener = leg.opener if leg is not None else None
    if opener is not None and opener.packet.fragments:
        sentence += f", in {opener.packet.fragments} fragments"
    sentence += f"; {request.note}" if request.note else ""
    sentence += f"; {again}" if (again := found.retried(found.client)) else ""
    sentence += f"; followed is request {request.nth} on it" if request.nth > 1 else ""
    facts = {"request": request.what} | ({"resolved": request.note} if request.note else {})
    if not hop.outward and _ends_here(found, hop):
        return stuck(1, "client", found, found.client, (hop,))
    return step_of(1, "client", sentence, (hop,), facts)


def _ends_here(found: Findings, hop: Hop) -> bool:
    ours = found.doctor.clues.addresses.get(hop.netns, frozenset())
    return hop.after.destination.ip not in ours


def _service(found: Findings, service: Service) -> Step:
    """What the address is, by the API objects: the kernel knows no Services."""
    objects, to = found.world.objects, found.request.connect
    key = Key(service.metadata.namespace, service.metadata.name)
    spec = service.spec
    kind = "cluster IP"
    if str(to.ip) not in (spec.cluster_ip, *spec.cluster_ips):
        kind = "node port" if objects.node_by_ip(to.ip) else "load balancer address"
    ready: set[str] = set()
    waiting: set[str] = set()
    for piece in objects.slices(key):
        # Those of the other family are no choice for this packet.
        for endpoint in piece.endpoints if piece.address_type == found.request.family else ():
            (ready if endpoint.conditions.ready is not False else waiting).update(
                endpoint.addresses
            )
    sentence = f"{to} is the {kind} of Service {key.namespace}/{key.name}"
    sentence += f", which has {len(ready)} ready endpoint{'s' * (len(ready) != 1)}"
    sentence += f" and {len(waiting)} not ready" if waiting else ""
    facts = {
        "Service": f"{key.namespace}/{key.name}",
        "endpoints": ", ".join(sorted(ready)) or "none",
    }
    if waiting:
        facts["not ready"] = ", ".join(sorted(waiting))
    for name, value, usual in (
        ("externalTrafficPolicy", spec.external_traffic_policy, ""),
        ("internalTrafficPolicy", spec.internal_traffic_policy, "Cluster"),
        ("sessionAffinity", spec.session_affinity, "None"),
    ):
        if value and value != usual:
            facts[name] = value
            sentence += f"; {_WORDS[(name, value)]}" if (name, value) in _WORDS else ""
    evidence = Evidence(
        source=Source.OBJECTS,
        confidence=Confidence.DECLARED,
        reference=f"Service {key.namespace}/{key.name}",
    )
    return with_evidence(step_of(0, "Service", sentence, (), facts), (evidence,))


_WORDS = {
    ("externalTrafficPolicy", "Local"): "from outside only endpoints on the node itself are chosen"
    " (externalTrafficPolicy Local)",
    ("internalTrafficPolicy", "Local"): "only endpoints on the client's own node are chosen"
    " (internalTrafficPolicy Local)",
    ("sessionAffinity", "ClientIP"): "a client that comes again gets the same endpoint"
    " (sessionAffinity ClientIP)",
}
"""What a field of the Service means for this request."""


def _proxied(found: Findings, hop: Hop) -> bool:
    """Whether this is where kube-proxy's rules decided: a node that rewrote the destination or stopped the packet."""
    if found.role(hop) is not Role.NODE:
        return False
    rewritten = hop.nat is not None and "DNAT" in hop.nat.kind
    return rewritten or any(_kubes(r.chain, r.table) and r.verdict == "drop" for r in hop.rules)


def _kubes(chain: str, table: str) -> bool:
    return chain.startswith("KUBE-") or table == "kube-proxy"


def _kube_proxy(found: Findings, hops: tuple[Hop, ...], index: int) -> Step:
    hop = hops[index]
    if hop.nat is None or any(r.verdict == "drop" for r in hop.rules):
        return stuck(0, "kube-proxy", found, found.client, (hop,))
    pod = found.world.name_of(hop.after.destination.ip)
    proven = hop.nat.conntrack is not None
    sentence = f"{found.name(hop)} turns {hop.before.destination} into {hop.after.destination}"
    sentence += (
        f" ({pod}" + (f" on {away}" if (away := _away(found, hop)) else "") + ")" if pod else ""
    )
    if hop.before.source != hop.after.source:
        sentence += f", and hides the client's address behind {hop.after.source.ip} (masquerade"
        sentence += f": {why})" if (why := _why_hidden(found, hop)) else ")"
    elif external_policy(found) == "Local" and found.role(hops[0]) is Role.OUTSIDE:
        sentence += "; the client's address stays (externalTrafficPolicy Local)"
    sentence += "" if proven else "; no conntrack entry explains it"
    verdict = Verdict.DELIVERED if proven else Verdict.INCONCLUSIVE
    return step_of(0, "kube-proxy", sentence, (hop,), {}, verdict=verdict)


def _away(found: Findings, hop: Hop) -> str:
    """The node of the chosen endpoint, when it is another than the one that chose."""
    pod = found.world.objects.pod_by_ip(hop.after.destination.ip)
    here = found.world.place(hop.netns).node
    return pod.spec.node_name if pod is not None and pod.spec.node_name != here else ""


def _why_hidden(found: Findings, hop: Hop) -> str:
    if hop.before.source.ip == hop.after.destination.ip:
        return "the pod reaches itself, a hairpin"
    cluster_ip = found.world.objects.service_by_cluster_ip(hop.before.destination.ip)
    if cluster_ip is not None:
        return "the client is no pod"
    policy = external_policy(found)
    by_network = any(r.chain == "FLANNEL-POSTRTG" and "MASQUERADE" in r.text for r in hop.rules)
    if policy == "Local" and by_network:
        # IPVS mode goes to other nodes where this one has no endpoint, and marks nothing for it.
        return "the pod network's, for no endpoint is on this node"
    return f"externalTrafficPolicy {policy}" if policy else ""


def _lost_before_proxy(found: Findings, hops: tuple[Hop, ...]) -> Step:
    nodes = tuple(h for h in hops if found.role(h) is Role.NODE)[:1]
    if nodes and nodes[0].outward and nodes[0].nat is None:
        return step_of(
            0, "kube-proxy", f"{found.name(nodes[0])} has no rule that rewrites this address", nodes, {},
            verdict=Verdict.INCONCLUSIVE,
        )  # fmt: skip
    return stuck(0, "kube-proxy", found, found.client, nodes)


def _arrival(found: Findings, hops: tuple[Hop, ...], proxying: int | None) -> Step:
    """The packet arrives where its destination address lives, and something answers."""
    beyond = hops[proxying + 1 :] if proxying is not None else hops[1:]
    if not beyond and hops and not _ends_here(found, hops[-1]):
        beyond = hops[-1:]
    name = "container"
    target = found.world.name_of(hops[-1].after.destination.ip) if hops else ""
    if not target.startswith("pod") and (not beyond or found.role(beyond[-1]) is not Role.POD):
        name = "destination"
    leg, answer = found.client, found.answering(found.client)
    opened = leg is not None and any(found.doctor.arrived(w, "") for w in leg.opening)
    if not opened or not beyond:
        return stuck(0, name, found, leg, beyond)
    here = beyond[-1]
    if answer is None or answer.sightings[0].tap.netns != here.netns:
        words = f"the packet reached {found.name(here)}, no answer was seen leaving it"
        return stuck(0, name, found, leg, beyond, words)
    place = found.world.place(here.netns)
    facts = {"pod" if place.pod else "place": found.name(here), "node": place.node}
    request = found.payload(leg, back=False)
    if request is not None:
        took = answer.sightings[0].time_ns - request.sightings[-1].time_ns
        facts["answer after"] = f"{took / 1000:.0f} µs"
    sentence = f"{found.name(here)}" + (f" on {place.node}" if place.node and place.pod else "")
    at = here.after.destination.ip if found.request.kind is Kind.ICMP else here.after.destination
    to = here.after.source.ip if found.request.kind is Kind.ICMP else here.after.source
    return step_of(0, name, f"{sentence} answers at {at} to {to}", beyond, facts)


def _way_back(found: Findings) -> Step:
    answer = found.answering(found.client)
    if answer is None:
        return stuck(0, "the way back", found, found.client, (), "no answer was seen on the wire")
    hops = found.witness.hops(answer)
    leg, got = found.client, found.answer
    home = hops[-1].netns == found.world.client and bool(hops[-1].inward)
    said = found.request.kind is Kind.DNS and got.reason
    if not home or (got.error and not said):
        why = got.error or "the answer was not seen at the client"
        return stuck(0, "the way back", found, leg, hops, why)
    undone = sum(1 for h in hops if h.nat is not None)
    what = f"{got.status} {got.reason}" if got.status else got.reason
    to = hops[-1].after.destination
    sentence = f"the answer, {what}, arrives at {to.ip if found.request.kind is Kind.ICMP else to}"
    sentence += (
        f"; conntrack undid the rewrites in {undone} namespace{'s' * (undone > 1)}"
        if undone
        else ""
    )
    return step_of(
        0, "the way back", sentence, hops, {"status": str(got.status)} if got.status else {}
    )


def _answer(found: Findings) -> Step:
    """What the DNS server said, which is not the network's doing."""
    got = found.answer
    where = found.world.name_of(found.opening(found.client)[-1].after.destination.ip)
    if got.error:
        sentence = f"{where or found.request.url} says: {got.error}"
        step = step_of(0, "answer", sentence, (), {"code": got.reason}, verdict=Verdict.REFUSED)
    else:
        records = got.body.decode().splitlines()
        step = step_of(0, "answer", "; ".join(records), (), {"code": got.reason})
    return with_evidence(step, (Evidence(source=Source.CLIENT, reference=f"DNS {got.reason}"),))
