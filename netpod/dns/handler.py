"""A query's bytes -> the response's bytes: who may answer, and the cache of compiled answers.

The same question bytes get the same answer until what it is about changes, so an answer is compiled once and then sent
with only the id exchanged; a change of one Service leaves the answers about all others. Of an answer with several
addresses all rotations are kept and sent in turn.
"""

import ipaddress
from dataclasses import dataclass, replace

from netpod.dns import wire
from netpod.dns.forward import Rules
from netpod.dns.metrics import Metrics
from netpod.dns.records import Answer, Rcode, Record, Zone
from netpod.dns.view import Subject
from netpod.dns.wire import Question

CACHED = 4096
ROTATIONS = 8
"""At most so many orders of one answer are kept."""
CNAME_HOPS = 8
_NONE = b"\0\0"
_Asked = tuple[bytes, bool]
"""A query without its id, and whether it came over TCP."""
_SERVFAIL = Answer(rcode=Rcode.SERVFAIL, authoritative=False)
_NXDOMAIN = Answer(rcode=Rcode.NXDOMAIN, authoritative=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A query that somebody else answers: its name in lower case, and `failed`, the response if nobody does."""

    name: str
    failed: bytes


class Handler:
    """Answers queries from a zone.

    Attributes:
        rules: Who answers for names outside the zone; by default nobody.
        counted: What there is to tell of it.
        synced: Until it is set, everything is SERVFAIL: an answer from half a view would be a wrong one.
    """

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self.rules = Rules()
        self.counted = Metrics()
        self.synced = False
        self._cache: dict[_Asked, list[bytes]] = {}
        self._about: dict[Subject, set[_Asked]] = {}
        self._cached_rules = self.rules
        self._turn = 0

    def respond(self, data: bytes, *, tcp: bool) -> bytes | Elsewhere:
        """Return the response to a query, nothing when it deserves none, or that somebody else answers it."""
        if self._zone.view.changed or self.rules is not self._cached_rules:
            self._forget()
        key = (data[2:], tcp)
        responses = self._cache.get(key)
        if responses is not None:
            if _denies(responses[0]):
                self.counted.denials += 1
            else:
                self.counted.hits += 1
        else:
            self.counted.misses += 1
            try:
                question = wire.read(data)
            except wire.Unanswerable as verdict:
                return verdict.response
            if self._forwarded(question):
                failed = wire.write(question, _SERVFAIL, tcp=tcp)
                return Elsewhere(name=question.name, failed=failed)
            answer = self.answer(question)
            responses = [wire.write(question, turned, tcp=tcp)[2:] for turned in _rotations(answer)]
            if self.synced:
                self._keep(key, responses, question, answer)
        self._turn += 1
        return data[:2] + responses[self._turn % len(responses)]

    def cached(self) -> tuple[int, int]:
        """How many answers are in the cache, and how many of these say that there is nothing."""
        found = self._cache.values()
        return len(found), sum(_denies(responses[0]) for responses in found)

    def _keep(
        self, key: _Asked, responses: list[bytes], question: Question, answer: Answer
    ) -> None:
        if len(self._cache) >= CACHED:
            self._cache.clear()
            self._about.clear()
        self._cache[key] = responses
        # An alias's answer is also about what it stands for.
        followed = [r.data.rstrip(".").lower() for r in answer.records if r.type == "CNAME"]
        for name in (question.name, *followed):
            subject = self._zone.subject(name)
            if subject is not None:
                self._about.setdefault(subject, set()).add(key)

    def _forget(self) -> None:
        """Drop answers about what has changed; all of them when the rules have."""
        if self.rules is not self._cached_rules:
            self._cache.clear()
            self._about.clear()
            self._cached_rules = self.rules
        for subject in self._zone.view.changed:
            for key in self._about.pop(subject, ()):
                self._cache.pop(key, None)
        self._zone.view.changed.clear()

    def answer(self, question: Question) -> Answer:
        """Answer one question from the zone and the hosts of the rules; all other names do not exist."""
        if question.class_ != "IN" or question.type in ("AXFR", "IXFR"):
            return wire.refused()
        if not self.synced:
            return _SERVFAIL
        answer = self._zone.answer(question.name, question.type)
        if answer is None:
            return self._host(question) or _NXDOMAIN
        return self._follow(answer, question.type)

    def _forwarded(self, question: Question) -> bool:
        rules = self.rules
        if question.class_ != "IN" or question.type in ("AXFR", "IXFR") or not self.synced:
            return False
        if question.name in rules.hosts or not (rules.relay or rules.servers(question.name)):
            return False
        return self._zone.answer(question.name, question.type) is None

    def _host(self, question: Question) -> Answer | None:
        addresses = self.rules.hosts.get(question.name)
        if addresses is None:
            return None
        family = {"A": 4, "AAAA": 6}.get(question.type)
        found = [a for a in addresses if ipaddress.ip_address(a).version == family]
        records = [Record(name=question.name, type=question.type, data=a) for a in found]
        return Answer(records=tuple(records), authoritative=False)

    def _follow(self, answer: Answer, qtype: str) -> Answer:
        """Add what an alias stands for, when that is a name of the zone."""
        records = list(answer.records)
        seen: set[str] = set()
        while (
            records and records[-1].type == "CNAME" and qtype != "CNAME" and len(seen) < CNAME_HOPS
        ):
            name = records[-1].data.rstrip(".").lower()
            if name in seen:
                break
            seen.add(name)
            found = self._zone.answer(name, qtype)
            if found is None or not found.records:
                break
            records.extend(found.records)
        return replace(answer, records=tuple(records))


def _denies(response: bytes) -> bool:
    """Whether a response, without its id, has an error or no answer."""
    return bool(response[1] & 15) or response[4:6] == _NONE


def _rotations(answer: Answer) -> list[Answer]:
    """Return the answer with its addresses in each order of turning."""
    turning = [r for r in answer.records if r.type in ("A", "AAAA")]
    if len(turning) < 2:
        return [answer]
    fixed: list[Record] = [r for r in answer.records if r.type not in ("A", "AAAA")]
    return [
        replace(answer, records=(*fixed, *turning[n:], *turning[:n]))
        for n in range(min(len(turning), ROTATIONS))
    ]
