"""What the name server counts, under CoreDNS' names, as of one server block for everything: `.:53`.

A datagram is answered from the cache in ten microseconds, so what is counted for it is a few additions: its duration
falls into a bucket by its number of bits, its sizes and its kind are counted as they are and sorted when somebody asks.

Source: CoreDNS 1.11 plugin/metrics/vars, plugin/cache/metrics.go, plugin/forward/metrics.go, plugin/pkg/proxy.
"""

import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import dns.rcode
import dns.rdatatype

from netpod import metrics

if TYPE_CHECKING:
    from prometheus_client.core import Metric

VERSION = "1.11.1"
"""Of CoreDNS, whose names these are."""
_FIRST_NS = 250_000
_SECONDS = metrics.exponential(0.00025, 2, 16)
_SIZES = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3)
_ZONE = ("dns://:53", ".", "")
_ZONED = ("server", "zone", "view")
_CACHED = ("dns://:53", ".", "")
_CACHES = ("server", "zones", "view")
_HEADER = 12
_TYPES = {
    int(dns.rdatatype.from_text(name)).to_bytes(2, "big"): name
    for name in "A AAAA CNAME DNSKEY DS HTTPS MX NS NSEC NSEC3 PTR RRSIG SOA SRV SVCB TXT ANY".split()
}
"""Types that have a name here; all others are one, or a client could make any number of them."""


class Metrics:
    """Of one name server.

    Attributes:
        hits: Answers from the cache that say something.
        denials: Answers from the cache that say that there is nothing.
        misses: Answers that were compiled or asked for.
        refused: Queries that were not forwarded because too many were under way.
    """

    def __init__(self) -> None:
        self._started = time.time()
        self._counts = [0] * (len(_SECONDS) + 1)
        self._ns = 0
        self._answered = Counter[tuple[str, str, bytes, int]]()
        self._asked_sizes = {proto: metrics.Histogram(_SIZES) for proto in ("udp", "tcp")}
        self._answer_sizes = {proto: metrics.Histogram(_SIZES) for proto in ("udp", "tcp")}
        self._forwarded = metrics.Histograms(_SECONDS)
        self.hits = self.denials = self.misses = self.refused = 0

    def answered(self, family: str, proto: str, query: bytes, response: bytes, ns: int) -> None:
        """Count an answer.

        Args:
            family: "1" for IPv4, "2" for IPv6.
            proto: "udp" or "tcp".
            query: Its bytes.
            response: Its bytes, at least a header.
            ns: How long it took, in nanoseconds.
        """
        # The name ends with its first zero, unless somebody put one into a label; that is an odd type and no harm.
        end = query.find(0, _HEADER) + 1
        kind = query[end : end + 2]
        self._answered[family, proto, kind if kind in _TYPES else b"", response[3] & 15] += 1
        self._asked_sizes[proto].observe(len(query))
        self._answer_sizes[proto].observe(len(response))
        self._ns += ns
        bucket = ((ns - 1) // _FIRST_NS).bit_length()
        self._counts[bucket if bucket < len(self._counts) else -1] += 1

    def forwarded(self, to: str, response: bytes, seconds: float) -> None:
        """Count an answer of somebody else's; b"" for none."""
        rcode = dns.rcode.to_text(dns.rcode.Rcode(response[3] & 15)) if len(response) > 3 else ""
        self._forwarded[("forward", to, rcode)].observe(seconds)

    def text(self, entries: int, denials: int) -> bytes:
        """Everything in the text format.

        Args:
            entries: Answers in the cache.
            denials: How many of these say that there is nothing.
        """
        own = metrics.process(self._started)
        return metrics.text([*self._families(), *self._cache(entries, denials), *own])

    def _families(self) -> "Iterator[Metric]":
        asked, answers = metrics.Counts(), metrics.Counts()
        for (family, proto, qtype, rcode), number in self._answered.items():
            asked[*_ZONE, proto, family, _TYPES.get(qtype, "other")] += number
            answers[*_ZONE, dns.rcode.to_text(dns.rcode.Rcode(rcode))] += number
        yield metrics.counter(
            "coredns_dns_requests_total",
            "Counter of DNS requests made per zone, protocol and family.",
            asked,
            (*_ZONED, "proto", "family", "type"),
        )
        yield metrics.counter(
            "coredns_dns_responses_total",
            "Counter of response status codes.",
            answers,
            (*_ZONED, "rcode"),
        )
        took = metrics.Histogram(_SECONDS)
        took.counts, took.sum = self._counts, self._ns / 1e9
        yield metrics.histogram(
            "coredns_dns_request_duration_seconds",
            "Histogram of the time (in seconds) each request took per zone.",
            {_ZONE: took},
            _ZONED,
        )
        for which, sizes in (("request", self._asked_sizes), ("response", self._answer_sizes)):
            yield metrics.histogram(
                f"coredns_dns_{which}_size_bytes",
                f"Size of the {which} in bytes per zone in each protocol.",
                {(*_ZONE, proto): found for proto, found in sizes.items()},
                (*_ZONED, "proto"),
            )
        yield from self._others()
        version: metrics.Labels = (VERSION, "netpod", "")
        yield metrics.gauge(
            "coredns_build_info",
            "A metric with a constant '1' value labeled by version, revision, and goversion.",
            {version: 1},
            ("version", "revision", "goversion"),
        )
        yield metrics.counter(
            "coredns_panics_total", "A metrics that counts the number of panics.", 0
        )

    def _cache(self, entries: int, denials: int) -> "Iterator[Metric]":
        yield metrics.gauge(
            "coredns_cache_entries",
            "The number of elements in the cache.",
            {
                ("dns://:53", "success", ".", ""): entries - denials,
                ("dns://:53", "denial", ".", ""): denials,
            },
            ("server", "type", "zones", "view"),
        )
        yield metrics.counter(
            "coredns_cache_hits_total",
            "The count of cache hits.",
            {
                ("dns://:53", "success", ".", ""): self.hits,
                ("dns://:53", "denial", ".", ""): self.denials,
            },
            ("server", "type", "zones", "view"),
        )
        for name, said, number in (
            ("requests", "The count of cache requests.", self.hits + self.denials + self.misses),
            ("misses", "The count of cache misses. Deprecated, derive misses from requests counters.", self.misses),
        ):  # fmt: skip
            yield metrics.counter(f"coredns_cache_{name}_total", said, {_CACHED: number}, _CACHES)

    def _others(self) -> "Iterator[Metric]":
        requests, responses = metrics.Counts(), metrics.Counts()
        for (_, to, rcode), found in self._forwarded.items():
            requests[(to,)] += sum(found.counts)
            if rcode:
                responses[to, rcode] += sum(found.counts)
        yield metrics.counter(
            "coredns_forward_requests_total",
            "Counter of requests made per upstream.",
            requests,
            ("to",),
        )
        yield metrics.counter(
            "coredns_forward_responses_total",
            "Counter of responses received per upstream.",
            responses,
            ("to", "rcode"),
        )
        yield metrics.counter(
            "coredns_forward_max_concurrent_rejects_total",
            "Counter of the number of queries rejected because the concurrent queries were at maximum.",
            self.refused,
        )
        yield metrics.histogram(
            "coredns_proxy_request_duration_seconds",
            "Histogram of the time each request took.",
            self._forwarded,
            ("proxy_name", "to", "rcode"),
        )
