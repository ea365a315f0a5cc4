"""Every socket that a trace listens with, in all namespaces."""

import select
from collections.abc import Iterable
from concurrent.futures import Executor

from netpod.errors import KernelError
from netpod.linux import netns
from netpod.trace import arming
from netpod.trace.model import Role
from netpod.trace.record import Heard
from netpod.trace.request import TraceRequest
from netpod.trace.sources import afpacket, nflog, nftrace, procnet, skbdrop
from netpod.trace.sources.ctnetlink import Conntrack
from netpod.trace.sources.proxylog import ProxyLog
from netpod.trace.topology import World, capture_ports

_Ear = afpacket.Capture | nftrace.RuleTrace | nflog.LegacyTrace | Conntrack


_ONLY = "only frames were captured (--timing)"


class Ears:
    """Every socket of a trace, open in all namespaces before the first packet leaves.

    Args:
        request: What will be sent.
        world: Where it may go.
        own_ports: Ports of the clients.
        pool: Closes them all at once.
        everything: Frames of all ports, for many requests.
        timing: Only frames: what costs a request least.

    `legacy`: this kernel has no nf_tables, so rules are heard, and to be armed, by legacy iptables alone.
    """

    def __init__(
        self,
        request: TraceRequest,
        world: World,
        own_ports: Iterable[int],
        pool: Executor,
        *,
        everything: bool = False,
        timing: bool = False,
    ) -> None:
        self._pool = pool
        self.drops: skbdrop.SkbDrops | None = None
        ports = capture_ports(world.objects, request.connect)
        program = (
            afpacket.compile_filter((), ())
            if everything
            else afpacket.compile_filter(
                tuple(dict.fromkeys((*own_ports, *ports))), (request.reserved,)
            )
        )
        self.captures: list[afpacket.Capture] = []
        self.rules: list[nftrace.RuleTrace | nflog.LegacyTrace] = []
        self.conntracks: list[Conntrack] = []
        ruled = () if timing else world.ruled()
        self.legacy = arming.without_nftables(ruled)
        try:
            for place in world.places.values():
                # A pod may be deleted between looking at the cluster and listening in it.
                if place.role is not Role.POD or netns.exists(place.netns):
                    self.captures.append(afpacket.Capture(place.netns, program))
            for name in ruled:
                if not self.legacy:
                    self.rules.append(nftrace.RuleTrace(name))
                if self.legacy or nflog.in_use(name):
                    self.rules.append(nflog.LegacyTrace(name))
                self.conntracks.append(Conntrack(name))
            self.log = ProxyLog(world.logs)
            self.drops, self.drop_note = (None, _ONLY) if timing else _open_drops(world)
            self.counters = procnet.Counters(world.places)
            self._poll = select.poll()
            for ear in self._all():
                self._poll.register(ear.fileno(), select.POLLIN)
        except BaseException:
            self.close()
            raise

    def wait(self, seconds: float) -> bool:
        """Wait until something is heard; False when nothing was. The proxy's log file wakes nobody."""
        return bool(self._poll.poll(seconds * 1000))

    def read_into(self, heard: Heard) -> None:
        """Read what waits."""
        for capture in self.captures:
            heard.frames += capture.read()
        for trace in self.rules:
            heard.events += trace.read()
        for conntrack in self.conntracks:
            heard.entries += conntrack.read()
        if self.drops is not None:
            heard.drops += self.drops.read()

    def finish(self, heard: Heard) -> None:
        """Hear no more, read the rest, and what was lost.

        Where others are busy there would be no end of reading otherwise.
        """
        for ear in self._all():
            ear.hush()
        self.read_into(heard)
        heard.captured = len(heard.frames)
        heard.frames_lost = sum(capture.lost() for capture in self.captures)
        heard.events_lost = sum(trace.lost for trace in self.rules)
        heard.entries_lost = sum(conntrack.lost for conntrack in self.conntracks)

    def close(self) -> None:
        """Close them all, at once."""
        if self.drops is not None:
            self.drops.close()
        list(self._pool.map(lambda ear: ear.close(), self._all()))

    def _all(self) -> list[_Ear]:
        return [*self.captures, *self.rules, *self.conntracks]


def _open_drops(world: World) -> tuple[skbdrop.SkbDrops | None, str]:
    """Listen for dropped packets, or say why this kernel does not tell."""
    try:
        layout = skbdrop.observe_layout(world.cache)
        places = {netns.inode(name): name for name in world.places if netns.exists(name)}
        return skbdrop.SkbDrops(places, layout), ""
    except KernelError as error:
        return None, f"{error}; counters are used"
