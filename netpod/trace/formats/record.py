"""A trace's frames as a pcapng file: every tap, or one tap per packet as a wire would show it (`wire`)."""

import io

from netpod.ip import Address as IPAddress
from netpod.trace.formats import pcapng
from netpod.trace.model import Direction, Flow, Hop, Trace
from netpod.trace.packet import HeaderKey, header_key, label, parse_frame
from netpod.trace.sources.frames import Frame
from netpod.trace.topology import World

HINT = (
    "One packet is here once per interface it crossed. Wireshark takes that for retransmissions: set"
    " tcp.analyze_sequence_numbers to FALSE, or use --pcap-view wire."
)


def to_pcapng(
    trace: Trace, frames: tuple[Frame, ...], world: World, *, wire: bool = False
) -> bytes:
    """Return the frames of a trace's own packets as a file.

    Args:
        trace: What they belong to; its steps give the comments.
        frames: As captured; those of other flows are left out, ICMP and ARP stay.
        world: What the namespaces and addresses are called.
        wire: Write each packet only where it was seen first.
    """
    buffer = io.BytesIO()
    writer = pcapng.Writer(buffer, comment=f"{trace.verdict}: {trace.sentence}\n{HINT}")
    numbers = _numbers(trace)
    writer.names(_names(trace, world))
    comments = _comments(trace)
    seen: set[tuple[int, ...]] = set()
    for frame in sorted(frames, key=lambda f: (f.time_ns, f.sequence)):
        packet = parse_frame(frame.data)
        if packet is not None and packet.fingerprint not in numbers:
            continue
        if wire and packet is not None and packet.fingerprint in seen:
            continue
        notes: list[str] = []
        if packet is not None:
            seen.add(packet.fingerprint)
            notes.append(label(packet))
            way = Direction.OUT if frame.outgoing else Direction.IN
            notes += comments.get((frame.netns, way, header_key(packet)), [])
        writer.packet(
            (frame.netns, frame.interface),
            frame.time_ns,
            frame.data,
            description=f"{world.place(frame.netns)}, {frame.interface}",
            direction=pcapng.OUTBOUND if frame.outgoing else pcapng.INBOUND,
            packet_id=None if packet is None else numbers[packet.fingerprint],
            comments=notes,
            length=frame.length,
        )
    return buffer.getvalue()


def _numbers(trace: Trace) -> dict[tuple[int, ...], int]:
    """The packet ids that the JSON form uses too: the walks of all legs, counted from 1."""
    walks = [walk for leg in trace.legs for walk in leg.walks]
    return {walk.packet.fingerprint: number for number, walk in enumerate(walks, 1)}


def _names(trace: Trace, world: World) -> dict[IPAddress, str]:
    ips = {
        a.ip for leg in trace.legs for w in leg.walks for s in w.sightings for a in s.packet.flow
    }
    named = {ip: world.name_of(ip) for ip in ips}
    return {ip: name.replace(" ", "-") for ip, name in named.items() if name}


def _comments(trace: Trace) -> dict[tuple[str, Direction, HeaderKey], list[str]]:
    """Rules go with the frame that comes in, NAT with the one that leaves."""
    found: dict[tuple[str, Direction, HeaderKey], list[str]] = {}
    packets: dict[tuple[str, Flow], HeaderKey] = {}
    for leg in trace.legs:
        for walk in leg.walks:
            for s in walk.sightings:
                packets.setdefault((s.tap.netns, s.packet.flow), header_key(walk.packet))
    for step in trace.steps:
        for hop in step.hops:
            key = packets.get((hop.netns, hop.before))
            if key is None:
                continue
            into = found.setdefault((hop.netns, Direction.IN, key), [])
            into += [f"hop: step {step.number} {step.name}", *_rules(hop)]
            if hop.nat is not None:
                out = found.setdefault((hop.netns, Direction.OUT, key), [])
                out.append(f"{hop.nat.kind}: {hop.before} became {hop.after}")
    return found


def _rules(hop: Hop) -> list[str]:
    return [f"rule: {r.table} {r.text or r.chain}" for r in hop.rules]
