"""What the proxies of a node counted, in Prometheus' text format under upstream's names.

Both families are told together, as one kube-proxy tells them: label `ip_family` says which is which.

Source: kubernetes pkg/proxy/metrics/metrics.go.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netpod import metrics
from netpod.proxy.metrics import Metrics
from netpod.proxy.model import Model

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_PREFIX = "kubeproxy_"
_SYNC = f"{_PREFIX}sync_proxy_rules_"
_FAMILY = ("ip_family",)
_HISTOGRAMS = (
    (f"{_SYNC}duration_seconds", "sync", "SyncProxyRules latency in seconds"),
    (
        f"{_PREFIX}sync_full_proxy_rules_duration_seconds",
        "full",
        "SyncProxyRules latency in seconds for full resyncs",
    ),
    (
        f"{_PREFIX}sync_partial_proxy_rules_duration_seconds",
        "partial",
        "SyncProxyRules latency in seconds for partial resyncs",
    ),
    (
        f"{_PREFIX}network_programming_duration_seconds",
        "programming",
        "In Cluster Network Programming Latency in seconds",
    ),
)
_TIMES = (
    (
        f"{_SYNC}last_timestamp_seconds",
        "last_sync",
        "The last time proxy rules were successfully synced",
    ),
    (
        f"{_SYNC}last_queued_timestamp_seconds",
        "last_queued",
        "The last time a sync of proxy rules was queued",
    ),
)
_FAILURES = ("iptables_restore", "iptables_partial_restore", "nftables_sync")
_RULES = (
    ("total", "Total number of iptables rules owned by kube-proxy"),
    ("last", "Number of iptables rules written by kube-proxy in last sync"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one family's proxy has to tell.

    Attributes:
        counted: Its numbers.
        model: Services and endpoints of now.
        written: Rules by table: "total" in the kernel, "last" by the last sync; empty outside iptables mode.
    """

    counted: Metrics
    model: Model = field(default_factory=Model)
    written: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def text(shares: Sequence[Share]) -> bytes:
    """All metrics of a node's proxies."""
    own = metrics.process(shares[0].counted.started)
    return metrics.text([*_of_syncs(shares), *_of_changes(shares), *_of_rules(shares), *own])


def _of_syncs(shares: Sequence[Share]) -> "Iterator[Metric]":
    counted: dict[metrics.Labels, Metrics] = {
        (share.counted.family,): share.counted for share in shares
    }
    for name, attribute, said in _HISTOGRAMS:
        histograms = {labels: getattr(it, attribute) for labels, it in counted.items()}
        yield metrics.histogram(name, said, histograms, _FAMILY)
    for name, attribute, said in _TIMES:
        times = {labels: getattr(it, attribute) for labels, it in counted.items()}
        yield metrics.gauge(name, said, times, _FAMILY)
    for what in _FAILURES:
        yield metrics.counter(
            f"{_SYNC}{what}_failures_total",
            f"Cumulative proxy {what.replace('_', ' ')} failures",
            {labels: it.failures[what] for labels, it in counted.items()},
            _FAMILY,
        )


def _of_changes(shares: Sequence[Share]) -> "Iterator[Metric]":
    """What upstream counts for the whole process."""
    for kind in ("endpoint", "service"):
        yield metrics.gauge(
            f"{_SYNC}{kind}_changes_pending",
            f"Pending proxy rules {kind.title()} changes",
            sum(share.counted.pending[kind] for share in shares),
        )
        yield metrics.counter(
            f"{_SYNC}{kind}_changes_total",
            f"Cumulative proxy rules {kind.title()} changes",
            sum(share.counted.total[kind] for share in shares),
        )
    answers = sum((share.counted.answers for share in shares), Counter[tuple[str, int]]())
    for path in ("healthz", "livez"):
        yield metrics.counter(
            f"{_PREFIX}proxy_{path}_total",
            f"Cumulative proxy {path} HTTP status",
            {(str(code),): count for (asked, code), count in answers.items() if asked == path},
            ("code",),
        )


def _of_rules(shares: Sequence[Share]) -> "Iterator[Metric]":
    yield metrics.gauge(
        f"{_SYNC}no_local_endpoints_total",
        "Number of services with a Local traffic policy and no endpoints",
        {
            (policy, share.counted.family): count
            for share in shares
            for policy, count in _without_local_endpoints(share.model).items()
        },
        ("traffic_policy", *_FAMILY),
    )
    for name, said in _RULES:
        yield metrics.gauge(
            f"{_SYNC}iptables_{name}",
            said,
            {
                (table, share.counted.family): count
                for share in shares
                for table, count in share.written.get(name, {}).items()
            },
            ("table", *_FAMILY),
        )


def _without_local_endpoints(model: Model) -> Counter[str]:
    """Service ports with usable endpoints on other nodes alone, by the policy that keeps to this one."""
    lacking = Counter({"internal": 0, "external": 0})
    for name, port in model.services.items():
        endpoints = model.endpoints.get(name, ())
        usable = [e for e in endpoints if e.ready or (e.serving and e.terminating)]
        if not usable or any(e.is_local for e in usable):
            continue
        lacking["internal"] += port.internal_policy_local
        lacking["external"] += port.external_policy_local and port.externally_accessible
    return lacking
