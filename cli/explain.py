"""netpod explain."""

import click

from netpod.errors import UsageError
from netpod_cli import context, output


@click.command(
    "explain",
    help="Predict where a request would go: explain --from pod/NAME svc/NAME. "
    "Of a pod alone: why it runs where it runs, or nowhere: explain pod/NAME.",
)
@click.argument("target", required=False, default="")
@click.option(
    "--from", "source", default="", metavar="WHERE", help="outside, node/NAME or pod/NAME."
)
@click.option("--udp", default="", metavar="TARGET", help="A datagram.")
@click.option("--icmp", default="", metavar="TARGET", help="An echo request.")
@context.family_options
@click.option(
    "--check", is_flag=True, help="Send it too, and say where prediction and trace differ."
)
@context.namespace_options
def explain_command(
    target: str,
    source: str,
    udp: str,
    icmp: str,
    family: str | None,
    check: bool,
    namespace: str,
) -> int:
    """Predict, and compare when asked to."""
    pod = target.partition("/")[2] if target.startswith(("pod/", "pods/", "po/")) else ""
    others = source or check or udp or icmp or family
    if pod and ":" not in pod and "/" not in pod and not others:
        from netpod_cli import placement

        return placement.explain_pod(pod, namespace)
    from netpod.cluster import tracing
    from netpod.ip import Family
    from netpod.trace import explain, run
    from netpod.trace.request import Kind

    chosen = [(k, t) for k, t in ((Kind.UDP, udp), (Kind.ICMP, icmp), (Kind.HTTP, target)) if t]
    if len(chosen) != 1:
        raise UsageError("cannot explain: name one target, e.g. http://example.com/ or svc/NAME")
    kind, where = chosen[0]
    question = run.Question(
        target=where,
        source=source or "outside",
        namespace=namespace,
        kind=kind,
        timeout=2.0,
        family=Family(family) if family else None,
    )
    paths, objects = context.paths(), tracing.objects(context.api())
    prediction = tracing.explain(paths, context.api(), question, objects)
    click.echo(explain.to_text(prediction, output.width()))
    if not check:
        return 0
    trace = run.trace(paths, question, objects)
    wrong = explain.disagreements(prediction, trace)
    click.echo("")
    said = [f"trace: {trace.verdict}: {trace.sentence}", *(f"differs: {line}" for line in wrong)]
    for line in said:
        click.echo("\n".join(explain.fit(line, output.width())))
    click.echo("" if wrong else "the trace agrees")
    return 3 if wrong else 0
