"""netpod trace."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netpod.errors import UsageError
from netpod_cli import context, output, waiting

if TYPE_CHECKING:
    from netpod.trace.model import Trace
    from netpod.trace.run import Question
    from netpod.trace.session import Followed

FORMS = ("tree", "table", "json", "mermaid", "html", "pcapng=FILE")


@click.command("trace", help="Send a request and show every hop: trace http://example.com/.")
@click.argument("target", required=False, default="")
@click.option(
    "--from", "source", default="outside", metavar="WHERE", help="outside, node/NAME or pod/NAME."
)
@click.option("--tcp", is_flag=True, help="Only open a connection.")
@click.option("--udp", default="", metavar="TARGET", help="Send a datagram there.")
@click.option(
    "--query", default="", metavar="NAME", help="With --udp: ask that DNS server for a name."
)
@click.option("--icmp", default="", metavar="TARGET", help="Send an echo request there.")
@click.option(
    "--sni",
    default="",
    metavar="NAME",
    help="Host name for HTTP and TLS; without a URL TLS, but on port 80.",
)
@click.option(
    "--size",
    default=0,
    type=click.IntRange(0, 65507),
    help="Payload bytes of --udp and --icmp; more than fits the link goes in fragments.",
)
@click.option("--df", is_flag=True, help="With --size: never in fragments.")
@click.option("--ttl", default=None, type=click.IntRange(1, 255), help="Hops the packets may take.")
@click.option(
    "--type", "record", default="", metavar="RECORD", help="With --query: A, AAAA, SRV, PTR."
)
@context.family_options
@click.option(
    "--keep-alive", "nth", default=1, type=click.IntRange(1, 1000), metavar="N",
    help="Send N HTTP requests on one connection, follow the last.",
)  # fmt: skip
@click.option("-o", "--output", "form", default="tree", metavar="|".join(FORMS), help="Form.")
@click.option(
    "--pcap-view", type=click.Choice(["taps", "wire"]), default="taps", help="With pcapng."
)
@click.option("--all-packets", is_flag=True, help="Every packet, not only the first.")
@click.option("-v", "--verbose", is_flag=True, help="Every rule of every hop.")
@click.option("--timing", is_flag=True, help="Capture only: no rules, least delay.")
@click.option(
    "--repeat", default=1, type=click.IntRange(1, 1000), help="How often; ends with a summary."
)
@click.option("--live", is_flag=True, help="Follow traffic that is there; send nothing.")
@click.option(
    "--filter", "only", default="", metavar="svc/NAME", help="With --live: what to follow."
)
@click.option("--count", default=1, type=click.IntRange(1, 1000), help="With --live: connections.")
@click.option("--dropped", is_flag=True, help="With --live: only what does not arrive.")
@click.option(
    "--compare", default="", metavar="MODE,MODE", help="Under each proxy mode, side by side."
)
@click.option("--timeout", default="5s", show_default=True, help="Silence to give up after.")
@context.namespace_options
def trace_command(
    target: str, source: str, tcp: bool, udp: str, query: str, icmp: str, sni: str, size: int, df: bool,
    ttl: int | None, record: str, family: str | None, nth: int, form: str, pcap_view: str, all_packets: bool,
    verbose: bool, timing: bool, repeat: int, live: bool, only: str, count: int, dropped: bool, compare: str,
    timeout: str, namespace: str,
) -> int:  # fmt: skip
    """Send a request and follow it."""
    from netpod.cluster import tracing
    from netpod.ip import Family
    from netpod.trace.model import Verdict
    from netpod.trace.request import Kind
    from netpod.trace.run import Question

    if form.partition("=")[0] not in [f.partition("=")[0] for f in FORMS] or form == "pcapng":
        raise UsageError(f"cannot write {form}: say one of {', '.join(FORMS)}")
    if repeat > 1 and form.partition("=")[0] in ("html", "pcapng"):
        raise UsageError(f"cannot write {form} of several requests: leave --repeat out")
    seconds = waiting.seconds(timeout)
    if live:
        return _live(only or target, namespace, count, dropped, seconds)
    chosen = [(k, t) for k, t in ((Kind.UDP, udp), (Kind.ICMP, icmp), (Kind.HTTP, target)) if t]
    if len(chosen) != 1:
        raise UsageError("cannot trace: name one target, e.g. http://example.com/ or svc/NAME")
    kind, where = chosen[0]
    if query:
        kind = Kind.DNS
    elif tcp:
        kind = Kind.TCP
    elif sni and target and "://" not in target and not target.endswith(":80"):
        kind = Kind.HTTPS
    question = Question(
        target=where, source=source, namespace=namespace, kind=kind, query=query, host=sni,
        timeout=seconds, size=size, whole=df, ttl=ttl or 0, family=Family(family) if family else None,
        record=_record(record), nth=nth,
    )  # fmt: skip
    if (size or df) and kind not in (Kind.UDP, Kind.ICMP):
        raise UsageError(
            "cannot choose the size of this request: --size and --df are for --udp and --icmp"
        )
    if nth > 1 and kind not in (Kind.HTTP, Kind.HTTPS):
        raise UsageError(
            "cannot keep a connection alive that carries no HTTP: leave --keep-alive out"
        )
    if compare:
        return _compare(question, compare, form)
    traces: list[Trace] = []
    for _ in range(repeat):
        followed = tracing.follow(context.paths(), context.api(), question, timing=timing)
        traces.append(followed.trace)
        if repeat == 1 or form != "json":
            _print(followed, form, pcap_view == "wire", all_packets, verbose)
        if repeat > 1 and form != "json":
            click.echo("")
    if repeat > 1 and form != "mermaid":
        from netpod.trace.formats import summary

        said = (
            summary.to_json(traces) if form == "json" else summary.to_text(traces, output.width())
        )
        click.echo(said)
    return 0 if all(trace.verdict is Verdict.DELIVERED for trace in traces) else 3


def _record(text: str) -> str:
    if not text:
        return ""
    from netpod.trace import dnsquery

    return dnsquery.record_type(text)


def _compare(question: "Question", text: str, form: str) -> int:
    from netpod.cluster import compare
    from netpod.trace.formats import compare as table
    from netpod.trace.model import Verdict

    if form not in ("tree", "json"):
        raise UsageError(f"cannot write {form} with --compare: say tree or json")
    chosen, missing = compare.modes(text)
    for why in missing.values():
        click.echo(f"left out: {why}", err=True)
    found = compare.compare(context.paths(), context.api(), question, chosen)
    traces = {str(mode): trace for mode, trace in found}
    width = output.width() or 100
    click.echo(table.to_json(traces) if form == "json" else table.to_text(traces, width=width))
    return 0 if all(t.verdict is Verdict.DELIVERED for t in traces.values()) else 3


def _print(followed: "Followed", form: str, wire: bool, all_packets: bool, verbose: bool) -> None:
    from netpod.trace import render
    from netpod.trace.formats import html, mermaid, record, table

    trace = followed.trace
    if form.startswith("pcapng="):
        data = record.to_pcapng(trace, followed.frames, followed.world, wire=wire)
        _write(form.partition("=")[2], data)
        click.echo(f"{trace.verdict}: {trace.sentence}", err=True)
        return
    makers = {
        "json": render.to_json,
        "table": lambda trace: table.to_table(trace, output.width()),
        "mermaid": mermaid.to_mermaid,
        "html": html.to_html,
    }
    if form in makers:
        click.echo(makers[form](trace))
    else:
        click.echo(
            render.to_text(
                trace,
                colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ,
                verbose=verbose,
                all_packets=all_packets,
                width=output.width(),
            )
        )


def _write(file: str, data: bytes) -> None:
    if file == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        Path(file).write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error


def _live(only: str, namespace: str, count: int, dropped: bool, seconds: float) -> int:
    from netpod.cluster import tracing
    from netpod.trace import render

    seen = 0
    found = tracing.live_traces(
        context.paths(), context.api(), only, namespace, count=count, dropped=dropped, limit=seconds
    )
    for trace in found:
        seen += 1
        click.echo(render.to_text(trace, colour=sys.stdout.isatty(), width=output.width()))
        click.echo("")
    return 0 if seen else 3
