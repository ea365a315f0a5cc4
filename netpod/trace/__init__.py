"""Where did this request go: one real request, followed through every namespace, with the rule that moved it.

Reads    frames (one AF_PACKET socket per namespace), nf_tables trace events, conntrack events, the ingress
         proxy's access line, the rules of the nodes crossed, the API objects that give them meaning.
Writes   the nf_tables table `inet netpod-trace` in the namespaces that hold rules, for as long as one request takes.
Never    guesses: what no source saw reads INCONCLUSIVE, and each source says what it lost.

A request is followed in five acts: arm, barrier, send, drain, disarm (session.py). What was recorded is then joined
without touching the kernel: fingerprints make walks, tuples seen on one walk make legs, conntrack proves each NAT
(correlate.py), walks become hops (hop.py), hops become the eight steps (path.py), and render.py prints them.

Sources: Linux net/packet/af_packet.c, net/netfilter/nf_tables_trace.c, net/netfilter/nf_conntrack_netlink.c.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netpod.trace.awaitable import explain_request, trace_all, trace_request
    from netpod.trace.explain import Prediction, disagreements
    from netpod.trace.model import Hop, Leg, RuleHit, Step, Trace, Verdict
    from netpod.trace.request import Kind
    from netpod.trace.run import Question

__all__ = [
    "Hop",
    "Kind",
    "Leg",
    "Prediction",
    "Question",
    "RuleHit",
    "Step",
    "Trace",
    "Verdict",
    "disagreements",
    "explain_request",
    "trace_all",
    "trace_request",
]
_HOMES = {
    "awaitable": ("explain_request", "trace_all", "trace_request"),
    "explain": ("Prediction", "disagreements"),
    "model": ("Hop", "Leg", "RuleHit", "Step", "Trace", "Verdict"),
    "request": ("Kind",),
    "run": ("Question",),
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: the command line must not pay for what it does not use."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"netpod.trace.{home}"), name)
    raise AttributeError(f"module netpod.trace has no attribute {name}")
