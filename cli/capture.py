"""netpod capture."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import BinaryIO

import click

from netpod.errors import UsageError
from netpod_cli import context


@click.command(
    "capture",
    help="Write frames as pcapng: capture pod/NAME 'tcp port 80' -w - | wireshark -k -i -.",
)
@click.argument("target", metavar="pod/NAME|node/NAME|svc/NAME|edge|outside|all")
@click.argument("expression", nargs=-1, metavar="[FILTER]")
@click.option("-w", "file", default="-", help="File, or - for standard output.", show_default=True)
@click.option(
    "-c", "--count", default=0, type=click.IntRange(min=0), help="Stop after so many frames."
)
@click.option(
    "--high-rate", is_flag=True, help="Up to 100,000 packets a second; takes 128 MB of memory."
)
@context.namespace_options
def capture_command(
    target: str,
    expression: tuple[str, ...],
    file: str,
    count: int,
    high_rate: bool,
    namespace: str,
) -> int:
    """Capture until interrupted."""
    from netpod.cluster import tracing
    from netpod.trace import listen
    from netpod.trace.world import observe_world

    if file == "-" and sys.stdout.isatty():
        raise UsageError("cannot write packets to a terminal: say -w FILE, or pipe into a reader")
    paths, objects = context.paths(), tracing.objects(context.api())
    found = listen.places(paths, objects, target, namespace)
    program = listen.compile_expression(expression)
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _: ended.append(n))
    click.echo(f"capturing in {', '.join(map(str, found))}; Ctrl-C ends it", err=True)
    with _opened(file) as out:
        written, lost = listen.capture(
            found,
            observe_world(paths, objects),
            out,
            program=program,
            stop=lambda: bool(ended),
            count=count,
            fast=high_rate,
        )
    click.echo(f"{written} frames written, {lost} lost", err=True)
    return 0


@contextlib.contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdout.buffer
        return
    try:
        with open(file, "wb") as out:
            yield out
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error
