"""What was heard while one request ran, before anything is made of it."""

from dataclasses import dataclass, field

from netpod.trace.accessline import AccessLine
from netpod.trace.clues import Counter, Drop
from netpod.trace.model import Answer, CtEntry, Flow
from netpod.trace.sources.frames import Frame
from netpod.trace.sources.nftrace import RuleEvent
from netpod.trace.virtual import Ipvs


@dataclass(slots=True, kw_only=True)
class Heard:
    """What was heard, of one request or of many, with what was lost; times since the Unix epoch.

    `captured` is how many frames there were before those of others were left out.
    """

    frames: list[Frame] = field(default_factory=list)
    events: list[RuleEvent] = field(default_factory=list)
    entries: list[CtEntry] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    captured: int = 0
    frames_lost: int = 0
    events_lost: int = 0
    entries_lost: int = 0


@dataclass(slots=True, kw_only=True)
class Record(Heard):
    """Filled while draining; times since the Unix epoch. `timing` is nanoseconds by act of the session.

    `wants_log`: the ingress proxy has a part in it.
    `virtual` is IPVS just after the request, by namespace.
    `drop_note` says why the kernel's drop reasons could not be read, or "".
    """

    flow: Flow
    has_log: bool
    answer: Answer = field(default_factory=Answer)
    started_at_ns: int = 0
    ended_at_ns: int = 0
    wants_log: bool = True
    lines: list[AccessLine] = field(default_factory=list)
    counters: tuple[Counter, ...] = ()
    drop_note: str = ""
    timing: dict[str, int] = field(default_factory=dict)
    virtual: dict[str, Ipvs] = field(default_factory=dict)

    @property
    def ruled(self) -> dict[str, set[tuple[str, str, str]]]:
        """Chains in which a rule was met (family, table, chain), by namespace: only their rules need to be read."""
        met: dict[str, set[tuple[str, str, str]]] = {}
        for event in self.events:
            met.setdefault(event.netns, set()).add((event.family, event.table, event.chain))
        return met

    @property
    def crossed(self) -> list[str]:
        """Namespaces in which a frame was seen."""
        return sorted({frame.netns for frame in self.frames})
