"""One function per step of the mission: findings → Step (pure)."""

from netpod.api.meta import Key
from netpod.ip import family_of
from netpod.trace.findings import Findings, hop_evidence
from netpod.trace.model import (
    Confidence,
    Evidence,
    Hop,
    Leg,
    Role,
    Source,
    Step,
    Verdict,
)
from netpod.trace.objects import gateway_of, match_ingress


def client(found: Findings) -> Step:
    """Step 1: the first packet leaves the client's namespace."""
    hops = [h for h in found.opening(found.client) if h.netns == found.world.client][:1]
    if not hops or not hops[0].outward:
        return stuck(1, "client", found, found.client, tuple(hops))
    hop = hops[0]
    to = found.world.name_of(hop.after.destination.ip)
    return step_of(
        1,
        "client",
        f"{hop.before.source} opens a connection to {hop.after.destination}"
        + (f" ({to}'s load balancer)" if to.startswith("Service") else "")
        + (f"; {found.request.note}" if found.request.note else "")
        + (f"; {again}" if (again := found.retried(found.client)) else "")
        + (f"; followed is request {found.request.nth} on it" if found.request.nth > 1 else ""),
        (hop,),
        {"request": f"{found.request.method} {found.request.path}, Host: {found.request.host}"},
    )


def load_balancer(found: Findings) -> Step:
    """Step 2: the edge sends the load balancer's address to a node's port."""
    hops = tuple(h for h in found.opening(found.client) if found.role(h) is Role.EDGE)[:1]
    if not hops:
        return stuck(2, "load balancer", found, found.client, ())
    hop = hops[0]
    if not hop.outward:
        return stuck(2, "load balancer", found, found.client, hops)
    if hop.nat is None:
        return step_of(2, "load balancer", "the edge routed it on unchanged", hops, {})
    node = found.world.name_of(hop.after.destination.ip)
    proof = "" if hop.nat.conntrack else "; no conntrack entry explains it"
    source = "the client's address stays" if hop.before.source == hop.after.source else "SNAT"
    return step_of(
        2,
        "load balancer",
        f"{hop.before.destination} becomes {hop.after.destination}"
        + (f" ({node})" if node else "")
        + f"; {source}{proof}",
        hops,
        {},
        verdict=Verdict.DELIVERED if hop.nat.conntrack else Verdict.INCONCLUSIVE,
    )


def ingress(found: Findings) -> Step:
    """Step 3: the node sends its port to an ingress pod, which reads the request."""
    hops = found.opening(found.client)
    edge = next((i for i, h in enumerate(hops) if found.role(h) is Role.EDGE), None)
    beyond = hops[edge + 1 :] if edge is not None else ()
    pods = [h for h in beyond if found.role(h) is Role.POD]
    if not pods:
        return stuck(3, "ingress", found, found.client, beyond)
    request = found.payload(found.client, back=False)
    arrived = request is not None and any(
        h.netns == pods[-1].netns and h.inward for h in found.witness.hops(request)
    )
    if not arrived:
        return stuck(
            3,
            "ingress",
            found,
            found.client,
            beyond,
            f"the connection reached {found.name(pods[-1])}, the request was not seen there",
        )
    changed = [h for h in beyond if h.nat is not None]
    unproven = [h for h in changed if h.nat is not None and h.nat.conntrack is None]
    masquerade = any(h.before.source != h.after.source for h in changed)
    via = next((found.name(h) for h in beyond if found.role(h) is Role.NODE), "")
    sentence = f"{via} sends {beyond[0].before.destination} to {found.name(pods[-1])}"
    sentence += f" ({pods[-1].after.destination})"
    policy = external_policy(found)
    if masquerade:
        sentence += f"; the client's address is hidden behind {pods[-1].after.source.ip}"
        sentence += (
            f" (masqueraded: externalTrafficPolicy {policy})" if policy else " (masqueraded)"
        )
    elif policy == "Local":
        sentence += "; the client's address stays (externalTrafficPolicy Local)"
    sentence += "; no conntrack entry explains the rewrite" if unproven else ""
    return step_of(
        3,
        "ingress",
        sentence,
        beyond,
        {},
        verdict=Verdict.INCONCLUSIVE if unproven else Verdict.DELIVERED,
    )


def external_policy(found: Findings) -> str:
    """The externalTrafficPolicy of the Service that the request goes to, "" when there is no Service."""
    service = found.world.objects.service_at(found.request.connect)
    return (service.spec.external_traffic_policy or "Cluster") if service is not None else ""


def rule(found: Findings) -> Step:
    """Step 4: the proxy matches host and path; only it can say which rule did, its access line does."""
    objects, request = found.world.objects, found.request
    entrance = objects.entrance(request.connect)
    by_ingress = entrance is not None and gateway_of(entrance) is None
    expected = match_ingress(objects, request.host, request.path) if by_ingress else None
    facts: dict[str, str] = {}
    evidence: list[Evidence] = []
    access = found.access
    if expected is not None:
        line = " ".join(filter(None, (expected.host, expected.path_type, expected.path)))
        facts["expected"] = f"Ingress {expected.ingress}: {line} → Service {expected.target}"
        evidence.append(
            Evidence(
                source=Source.OBJECTS,
                confidence=Confidence.INFERRED,
                reference=f"Ingress {expected.ingress}",
            )
        )
    if access is None:
        return Step(
            number=4,
            name="host and path rule",
            verdict=Verdict.INCONCLUSIVE,
            sentence="the ingress proxy's access line for this request was not found",
            evidence=tuple(evidence),
            facts=facts,
        )
    evidence.append(
        Evidence(source=Source.PROXY_LOG, confidence=Confidence.DECLARED, reference=access.raw)
    )
    host = found.request.host
    if access.ingress:
        facts |= {
            access.kind: access.ingress,
            "rule": access.rule,
            "Service": access.service,
            "backend": access.backend,
            "connections": f"{access.client} → proxy, {access.source} → {access.server}",
        }
        if access.source is None:
            facts["connections"] = f"{access.client} → proxy"
        facts = {name: value for name, value in facts.items() if value}
        if expected is not None and str(expected.ingress) == access.ingress:
            facts.pop("expected")
        verdict = Verdict.DELIVERED
        sentence = f"{access.kind} {access.ingress}, rule {access.rule}"
        sentence += f" → Service {access.service}" if access.service else ""
        if access.source is None and found.upstream is None and access.status >= 300:
            sentence += f": the ingress answers {access.status} itself"
            place = dict(found.answer.headers).get("location", "")
            sentence += f", a redirect to {place}" if found.redirected and place else ""
            verdict = Verdict.DELIVERED if found.redirected else Verdict.REFUSED
    else:
        verdict = Verdict.REFUSED
        sentence = f"no rule serves host {host}, path {found.request.path}"
        sentence += f": the ingress answers {access.status} itself"
    return Step(
        number=4,
        name="host and path rule",
        verdict=verdict,
        sentence=sentence,
        time_ns=_arrival(found),
        evidence=tuple(evidence),
        facts=facts,
    )


def service(found: Findings) -> Step:
    """Step 5: the ingress opens a connection to the Service's cluster IP."""
    hops = found.opening(found.upstream)[:1]
    if found.upstream is None or not hops:
        return unseen(5, "Service", "no connection from the ingress could be joined to the request")
    hop, objects = hops[0], found.world.objects
    to = hop.before.destination
    known = objects.service_by_cluster_ip(to.ip)
    if known is not None:
        key = Key(known.metadata.namespace, known.metadata.name)
        sentence = (
            f"the ingress connects to {to}, the cluster IP of Service {key.namespace}/{key.name}"
        )
        facts = {"Service": f"{key.namespace}/{key.name}"}
        addresses = sorted(
            a for s in objects.slices(key) if s.address_type == family_of(to.ip)
            for e in s.endpoints if e.conditions.ready is not False for a in e.addresses
        )  # fmt: skip
        facts["endpoints"] = ", ".join(addresses) or "none"
    else:
        owner = found.world.name_of(to.ip)
        sentence = f"the ingress connects to {to}" + (f" ({owner})" if owner else "")
        facts = {}
    sentence += f"; {again}" if (again := found.retried(found.upstream)) else ""
    step = step_of(5, "Service", sentence, (hop,), facts)
    return with_evidence(step, found.upstream.evidence)


def kube_proxy(found: Findings) -> Step:
    """Step 6: the ingress pod's node turns the cluster IP into one endpoint."""
    hops = tuple(h for h in found.opening(found.upstream) if found.role(h) is Role.NODE)[:1]
    if not hops:
        return stuck(6, "kube-proxy", found, found.upstream, ())
    hop = hops[0]
    if not hop.outward:
        return stuck(6, "kube-proxy", found, found.upstream, hops)
    if hop.nat is None:
        if found.world.objects.service_by_cluster_ip(hop.before.destination.ip) is None:
            return step_of(6, "kube-proxy", "nothing to do: not a cluster IP", hops, {})
        return stuck(6, "kube-proxy", found, found.upstream, hops)
    pod = found.world.name_of(hop.after.destination.ip)
    proven = hop.nat.conntrack is not None
    return step_of(
        6,
        "kube-proxy",
        f"{found.name(hop)} turns {hop.before.destination} into {hop.after.destination}"
        + (f" ({pod})" if pod else "")
        + ("" if proven else "; no conntrack entry explains it"),
        hops,
        {},
        verdict=Verdict.DELIVERED if proven else Verdict.INCONCLUSIVE,
    )


def container(found: Findings) -> Step:
    """Step 7: the request arrives in the pod, whose container answers."""
    hops = found.opening(found.upstream)
    first = next((i for i, h in enumerate(hops) if found.role(h) is Role.NODE), None)
    beyond = hops[first + 1 :] if first is not None else ()
    pods = [h for h in beyond if found.role(h) is Role.POD]
    if not pods:
        return stuck(7, "container", found, found.upstream, beyond)
    request = found.payload(found.upstream, back=False)
    answer = found.payload(found.upstream, back=True)
    here = pods[-1]
    if request is None or answer is None or answer.sightings[0].tap.netns != here.netns:
        return stuck(
            7,
            "container",
            found,
            found.upstream,
            beyond,
            f"the connection reached {found.name(here)}, no answer was seen leaving it",
        )
    took = answer.sightings[0].time_ns - request.sightings[-1].time_ns
    place = found.world.place(here.netns)
    facts = {"pod": found.name(here), "node": place.node, "answer after": f"{took / 1000:.0f} µs"}
    sentence = f"{found.name(here)}" + (f" on {place.node}" if place.node else "")
    sentence += f" answers at {here.after.destination} to {here.after.source}"
    return step_of(7, "container", sentence, beyond, facts)


def way_back(found: Findings) -> Step:
    """Step 8: the answer crosses the same namespaces back; conntrack undoes each rewrite, no rule is consulted."""
    hops: list[Hop] = []
    for walk in (found.payload(found.upstream, back=True), found.answered()):
        if walk is not None:
            hops += found.witness.hops(walk)
    if not hops:
        return stuck(8, "the way back", found, found.client, (), "no answer was seen on the wire")
    home = hops[-1].netns == found.world.client and bool(hops[-1].inward)
    got = found.answer.status
    if not home or not got:
        why = found.answer.error or "the answer was not seen at the client"
        lost = found.upstream if found.blocked(found.upstream) is not None else found.client
        return stuck(8, "the way back", found, lost, tuple(hops), why)
    undone = sum(1 for h in hops if h.nat is not None)
    sentence = f"the answer, {got} {found.answer.reason}, arrives at {hops[-1].after.destination}"
    sentence += f"; conntrack undid the rewrites in {undone} namespaces" if undone else ""
    return step_of(8, "the way back", sentence, tuple(hops), {"status": str(got)})


def step_of(
    number: int,
    name: str,
    sentence: str,
    hops: tuple[Hop, ...],
    facts: dict[str, str],
    *,
    verdict: Verdict = Verdict.DELIVERED,
) -> Step:
    """Make a step whose evidence is that of its hops."""
    return Step(
        number=number,
        name=name,
        verdict=verdict,
        sentence=sentence,
        time_ns=hops[0].start_ns if hops else None,
        hops=hops,
        evidence=hop_evidence(hops),
        facts=facts,
    )


def with_evidence(step: Step, evidence: tuple[Evidence, ...]) -> Step:
    """Add evidence to a step."""
    return Step(
        number=step.number,
        name=step.name,
        verdict=step.verdict,
        sentence=step.sentence,
        time_ns=step.time_ns,
        hops=step.hops,
        evidence=step.evidence + evidence,
        facts=step.facts,
    )


def unseen(number: int, name: str, why: str) -> Step:
    """Make a step that no source saw anything of."""
    return Step(number=number, name=name, verdict=Verdict.INCONCLUSIVE, sentence=why, facts={})


def stuck(
    number: int,
    name: str,
    found: Findings,
    leg: Leg | None,
    hops: tuple[Hop, ...],
    otherwise: str = "",
) -> Step:
    """The request did not get past this step: say why when that is known, else where it was last seen."""
    why = found.blocked(leg)
    if why is None:
        words = otherwise or found.last_seen(leg)
        return step_of(number, name, words, hops, {}, verdict=Verdict.INCONCLUSIVE)
    step = step_of(number, name, why.sentence, hops, {"cause": why.cause}, verdict=why.verdict)
    return with_evidence(step, why.evidence)


def _arrival(found: Findings) -> int | None:
    """When the request was in the ingress pod: the proxy's line itself has no clock of ours."""
    walk = found.asked()
    return None if walk is None else walk.sightings[-1].time_ns
