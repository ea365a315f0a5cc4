"""`netpod capture`: frames of some namespaces as they come, into one pcapng file."""

import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from ipaddress import ip_address
from operator import itemgetter
from typing import BinaryIO

from netpod.api.meta import Key
from netpod.errors import NotFound, UsageError
from netpod.ip import Address as IPAddress
from netpod.linux import process
from netpod.paths import Paths
from netpod.trace import where
from netpod.trace.families import cluster_ips, pod_ips
from netpod.trace.formats import pcapng
from netpod.trace.objects import ClusterObjects, load_balancer_ips
from netpod.trace.sources import afpacket, ring
from netpod.trace.topology import Place, World
from netpod.trace.world import observe_world

TURN = 0.2
EVERYTHING: tuple[afpacket.Instruction, ...] = ((0x06, 0, 0, afpacket.SNAP_LENGTH),)


def places(paths: Paths, objects: ClusterObjects, target: str, namespace: str) -> list[Place]:
    """Return the namespaces that a capture's target means.

    Args:
        paths: The cluster's names.
        objects: Its objects.
        target: "all", "edge", "outside", node/NAME, pod/NAME or svc/NAME (the pods behind it).
        namespace: Of pods and Services named without one.

    Raises:
        UsageError: it is none of these.
        NotFound: there is no such object, or no pod behind the Service.
    """
    kind, _, name = target.partition("/")
    if target == "all":
        everything = [(s.metadata.namespace, s.metadata.name) for s in objects.services]
        world = observe_world(paths, objects, services=[Key(*pair) for pair in everything])
        return list(world.places.values())
    if kind in ("svc", "service", "services") and name:
        key = Key(namespace, name)
        if objects.service(key) is None:
            raise NotFound(f'services "{name}" not found in namespace {namespace}')
        pods = [p for p in objects.endpoint_pods(key) if p.status.pod_ip]
        if not pods:
            raise NotFound(f"cannot capture {target}: no pod is behind it")
        return [where.pod_place(paths, pod) for pod in pods]
    try:
        return [where.resolve(paths, objects, target, namespace)]
    except UsageError:
        raise UsageError(
            f"cannot capture {target}: say all, edge, outside, node/NAME, pod/NAME or svc/NAME"
        ) from None


def compile_expression(expression: Sequence[str]) -> tuple[afpacket.Instruction, ...]:
    """Compile a filter as tcpdump has them ("tcp port 80"); tcpdump does it, we have no compiler of our own.

    Raises:
        Unsupported: tcpdump is not installed.
        CommandFailed: the expression does not parse.
    """
    if not expression:
        return EVERYTHING
    argv = ["tcpdump", "-y", "EN10MB", "-s", str(afpacket.SNAP_LENGTH), "-ddd", *expression]
    lines = process.run(argv).stdout.decode().split("\n")[1:]
    rows = [tuple(map(int, line.split())) for line in lines if line.strip()]
    return tuple((row[0], row[1], row[2], row[3]) for row in rows)


MEMORY = 128
"""Blocks of all rings together, 1 MB each: five seconds of 100,000 small frames a second."""


def capture(
    found: Sequence[Place],
    world: World,
    file: BinaryIO,
    *,
    program: Sequence[afpacket.Instruction] = EVERYTHING,
    stop: Callable[[], bool] = lambda: False,
    count: int = 0,
    fast: bool = False,
) -> tuple[int, int]:
    """Write frames until told to stop.

    Args:
        found: Namespaces to listen in.
        world: What addresses are called.
        file: Where to; flushed after every turn, so a reader of a pipe sees them at once.
        program: Which frames.
        stop: Asked several times a second.
        count: Frames after which to stop; 0 is never.
        fast: From memory shared with the kernel, up to 100,000 a second.

    Returns:
        Frames written, and frames that the kernel dropped because we were too slow. Frames of one namespace are in
        order; those of several are sorted within each turn only.
    """
    written = 0
    with ExitStack() as stack:
        taps: list[tuple[Place, afpacket.Capture | ring.Ring]] = []
        for place in found:
            item = (
                ring.Ring(place.netns, program, max(4, MEMORY // len(found)))
                if fast
                else afpacket.Capture(place.netns, program)
            )
            stack.callback(item.close)
            taps.append((place, item))
        writer = _writer(file, world)
        poll = select.poll()
        for _, item in taps:
            poll.register(item.fileno(), select.POLLIN)
        while not stop() and not (count and written >= count):
            poll.poll(TURN * 1000)
            batch = [row for place, item in taps for row in _rows(place, item, writer)]
            if len(taps) > 1:
                batch.sort(key=itemgetter(1))
            if count:
                batch = batch[: count - written]
            writer.bare(batch)
            written += len(batch)
            file.flush()
        return written, sum(item.lost() for _, item in taps)


def _rows(
    place: Place, item: afpacket.Capture | ring.Ring, writer: pcapng.Writer
) -> list[tuple[int, int, int, bytes, int]]:
    """Frames waiting, as `pcapng.Writer.bare` wants them."""
    numbers: dict[str | int, int] = {}

    def number(key: str | int, name: str) -> int:
        numbers[key] = writer.interface((place.netns, name), f"{place}, {name}")
        return numbers[key]

    ways = (pcapng.INBOUND, pcapng.OUTBOUND)
    if isinstance(item, ring.Ring):
        return [
            (
                numbers[ifindex] if ifindex in numbers else number(ifindex, item.name(ifindex)),
                time_ns,
                ways[kind == afpacket.PACKET_OUTGOING],
                data,
                length,
            )
            for time_ns, ifindex, kind, data, length in item.read()
        ]
    return [
        (
            numbers[f.interface] if f.interface in numbers else number(f.interface, f.interface),
            f.time_ns,
            ways[f.outgoing],
            f.data,
            max(f.length, len(f.data)),
        )
        for f in item.read()
    ]


def _writer(file: BinaryIO, world: World) -> pcapng.Writer:
    writer = pcapng.Writer(file, comment="netpod capture")
    writer.names(
        {ip: world.name_of(ip).replace(" ", "-") for ip in _known(world) if world.name_of(ip)}
    )
    file.flush()
    return writer


def _known(world: World) -> Iterator[IPAddress]:
    objects = world.objects
    texts = [ip for pod in objects.pods for ip in pod_ips(pod)]
    texts += [ip for service in objects.services for ip in cluster_ips(service)]
    texts += [ip for service in objects.services for ip in load_balancer_ips(service)]
    texts += [a.address for n in objects.nodes for a in n.status.addresses]
    for text in dict.fromkeys(texts):
        try:
            yield ip_address(text)
        except ValueError:
            continue
