"""The steps from what was recorded, and the verdict over them (pure).

    1 client   2 load balancer   3 ingress   4 host and path rule
    5 Service  6 kube-proxy      7 container 8 the way back

are those of a request through the ingress; others have fewer (direct.py).

A step is DELIVERED only on evidence from this very request. Where there is none it reads INCONCLUSIVE and says
what was last seen; behind a step that is known to have ended the request, it reads NOT REACHED.
"""

from dataclasses import replace

from netpod.trace import direct, steps
from netpod.trace.findings import Findings
from netpod.trace.model import Step, Verdict

ORDER = (
    steps.client,
    steps.load_balancer,
    steps.ingress,
    steps.rule,
    steps.service,
    steps.kube_proxy,
    steps.container,
    steps.way_back,
)
_ENDED = (Verdict.REFUSED, Verdict.DROPPED)


def walk_steps(found: Findings) -> tuple[Step, ...]:
    """Return the steps that apply, in order: all eight through the ingress, else those of direct.py."""
    if through_ingress(found):
        made = tuple(make(found) for make in ORDER)
    else:
        made = direct.steps(found)
    walked: list[Step] = []
    for step in made:
        ended = next((s for s in walked if s.verdict in _ENDED), None)
        if ended is None and found.redirected and len(walked) > 3:
            ended = walked[3]
        # An ingress that could not reach a pod still answers: the way back is then its own answer's.
        if ended is not None and step.verdict is not Verdict.DELIVERED:
            step = replace(
                step,
                verdict=Verdict.NOT_REACHED,
                sentence=f"the request ended at step {ended.number}",
                hops=(),
                evidence=(),
                time_ns=None,
            )
        walked.append(step)
    return tuple(walked)


def through_ingress(found: Findings) -> bool:
    """Whether the request is one that the ingress proxy answers."""
    return found.request.http and found.world.objects.entrance(found.request.connect) is not None


def judge(found: Findings, walked: tuple[Step, ...]) -> tuple[Verdict, str]:
    """Return the verdict over all steps and one plain sentence that says it.

    A request is DELIVERED when a container was seen to get it and its answer was seen to come home; what other steps
    lack is then said, not held against it.
    """
    answer = found.answer
    got = f"answered {answer.status}" if answer.status else answer.error or answer.reason
    what = found.request.what
    ended = next((s for s in walked if s.verdict in _ENDED), None)
    if ended is not None:
        word = ended.verdict.lower()
        return ended.verdict, (
            f"{what} was {word} at step {ended.number} ({ended.name}): {ended.sentence};"
            f" the client got: {got}"
        )
    home = next(s for s in walked if s.name == "the way back")
    if found.redirected and home.verdict is Verdict.DELIVERED:
        pod = next((found.name(h) for h in reversed(walked[2].hops)), "the ingress")
        return Verdict.DELIVERED, f"{what} was {got} by {pod} itself: {walked[3].sentence}"
    lacking = [s for s in walked if s.verdict is not Verdict.DELIVERED]
    reached = next(s for s in walked if s.name in ("container", "destination"))
    if reached.verdict is Verdict.DELIVERED and home.verdict is Verdict.DELIVERED:
        who = reached.facts.get("pod") or reached.facts.get("place") or "a container"
        verb = f"was {got}" if answer.status else "was answered"
        sentence = f"{what} {verb} by {who}"
        node = reached.facts.get("node", "")
        sentence += f" on {node}" if node else ""
        sentence += "" if answer.status else f": {got}"
        sentence += _journey(found, walked)
        if lacking:
            sentence += "; evidence is missing for step " + ", ".join(
                str(s.number) for s in lacking
            )
        return Verdict.DELIVERED, sentence
    # Evidence that one step lacks does not end the path while later steps have theirs.
    first = next(
        (s for i, s in enumerate(walked) if s in lacking and not _goes_on(walked[i + 1 :])), home
    )
    return Verdict.INCONCLUSIVE, (
        f"{what}: the evidence ends at step {first.number} ({first.name}): {first.sentence};"
        f" the client got: {got}"
    )


def _journey(found: Findings, walked: tuple[Step, ...]) -> str:
    """Who decided on the way, in the order of the way: "; the load balancer chose ..., ..."."""
    by_name = {step.name: step for step in walked}
    parts: list[str] = []
    edge, ingress = by_name.get("load balancer"), by_name.get("ingress")
    if edge is not None and edge.hops and edge.hops[-1].nat is not None:
        chosen = found.world.name_of(edge.hops[-1].after.destination.ip)
        parts.append(
            f"the load balancer chose {chosen}" if chosen else "the load balancer passed it on"
        )
    if ingress is not None and ingress.hops and found.access is not None and found.access.rule:
        parts.append(
            f"the ingress matched rule {found.access.rule} of {found.access.kind} {found.access.ingress}"
        )
    proxy = by_name.get("kube-proxy")
    service = by_name["Service"].facts if "Service" in by_name else {}
    if proxy is not None and proxy.hops and proxy.hops[-1].nat is not None:
        ready = [e for e in service.get("endpoints", "").split(", ") if e and e != "none"]
        of = f"1 of {len(ready)} endpoints" if len(ready) > 1 else "the endpoint"
        parts.append(
            f"kube-proxy on {found.name(proxy.hops[-1])} chose {of} of Service {service.get('Service', '?')}"
        )
    return f"; {', '.join(parts)}" if parts else ""


def _goes_on(later: tuple[Step, ...]) -> bool:
    return any(s.verdict is Verdict.DELIVERED and s.hops for s in later if s.name != "the way back")
