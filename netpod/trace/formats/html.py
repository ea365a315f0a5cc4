"""A trace as one HTML file that replays the journey: no script from elsewhere, no font, no image, no request."""

import html
import json

from netpod.trace.encode import to_dict
from netpod.trace.model import Hop, Step, Trace


def to_html(trace: Trace) -> str:
    """Return the page. The trace's JSON is in it, so it can be taken out again."""
    steps = "\n".join(_step(step) for step in trace.steps)
    # "</" would end the script element.
    data = json.dumps(to_dict(trace), ensure_ascii=False).replace("</", "<\\/")
    return _PAGE.format(
        title=html.escape(f"netpod trace: {trace.url}"),
        verdict=html.escape(trace.verdict),
        colour={"DELIVERED": "#1a7f37", "INCONCLUSIVE": "#9a6700"}.get(trace.verdict, "#cf222e"),
        sentence=html.escape(trace.sentence),
        took=f"{trace.duration_ns / 1e6:.2f}",
        steps=steps,
        body=html.escape(trace.answer.body.decode(errors="replace")),
        data=data,
    )


def _step(step: Step) -> str:
    when = "" if step.time_ns is None else f"<time>+{step.time_ns / 1e6:.3f} ms</time>"
    hops = "".join(_hop(hop) for hop in step.hops)
    facts = "".join(
        f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in step.facts.items()
    )
    evidence = "".join(
        f"<li>{html.escape(e.source)} ({html.escape(e.confidence)}): {html.escape(e.reference)}</li>"
        for e in step.evidence
    )
    kind = step.verdict.lower().replace(" ", "-")
    return (
        f'<section class="{kind}"><h2>{step.number} {html.escape(step.name)} {when}'
        f"<b>{html.escape(step.verdict)}</b></h2><p>{html.escape(step.sentence)}</p>"
        f"<dl>{facts}</dl>{hops}"
        f"<details><summary>evidence</summary><ul>{evidence}</ul></details></section>"
    )


def _hop(hop: Hop) -> str:
    rules = "".join(
        f"<li><code>{html.escape(r.table)} {html.escape(r.text or r.chain)}</code>"
        + (f"<em>{html.escape(r.meaning)}</em>" if r.meaning else "")
        + "</li>"
        for r in hop.rules
    )
    change = f" → <mark>{html.escape(str(hop.after))}</mark> {hop.nat.kind}" if hop.nat else ""
    ways = [f"in {n}" for n in hop.inward] + [f"out {n}" for n in hop.outward]
    return (
        f'<div class="hop"><h3>{html.escape(hop.netns)}'
        f"<small>{html.escape(', '.join(ways))}</small></h3>"
        f"<p><code>{html.escape(str(hop.before))}</code>{change}</p><ol>{rules}</ol></div>"
    )


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body{{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1f2328}}
section{{border-left:4px solid #d0d7de;margin:1rem 0;padding:.2rem 1rem;transition:opacity .3s}}
section.delivered{{border-color:#1a7f37}}section.dropped,section.refused{{border-color:#cf222e}}
section.inconclusive{{border-color:#9a6700}}section.not-reached,section.later{{opacity:.35}}
section.now{{background:#ddf4ff}}h2{{font-size:1.05rem;margin:.3rem 0}}h2 b{{float:right;font-size:.8rem}}
time,small{{color:#656d76;font-weight:normal;margin-left:.6rem}}.hop{{margin:.4rem 0 .4rem 1rem}}
h3{{font-size:.95rem;margin:.2rem 0}}code{{font-size:.85em}}em{{display:block;color:#656d76}}
mark{{background:#fff8c5}}dl{{display:grid;grid-template-columns:max-content 1fr;gap:0 1rem}}dd{{margin:0}}
#verdict{{color:{colour}}}pre{{background:#f6f8fa;padding:.6rem;overflow:auto}}
</style>
<h1>{title}</h1>
<p><strong id="verdict">{verdict}</strong> after {took} ms: {sentence}</p>
<p><button id="play">replay</button> <button id="back">◀</button> <button id="next">▶</button></p>
{steps}
<h2>answer</h2><pre>{body}</pre>
<script type="application/json" id="trace">{data}</script>
<script>
const all=[...document.querySelectorAll("section")];let at=all.length,timer=0;
function show(n){{at=Math.max(0,Math.min(all.length,n));
 all.forEach((s,i)=>{{s.classList.toggle("later",i>at);s.classList.toggle("now",i===at)}});
 if(all[at])all[at].scrollIntoView({{behavior:"smooth",block:"center"}})}}
document.getElementById("next").onclick=()=>show(at+1);
document.getElementById("back").onclick=()=>show(at-1);
document.getElementById("play").onclick=()=>{{clearInterval(timer);show(0);
 timer=setInterval(()=>{{show(at+1);if(at>=all.length)clearInterval(timer)}},1200)}};
</script></html>
"""
