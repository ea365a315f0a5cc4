"""A trace as one HTML file that replays the journey: no script from elsewhere, no font, no image, no request."""

import html
from pathlib import Path

from netpod.trace.encode import dump, to_dict
from netpod.trace.model import Trace

_BODY = """<header><h1>{what}</h1>
<p><span class="badge {verdict}">{verdict}</span>{sentence}</p></header>
<main><div class="card"><svg id="stage" role="img" aria-label="the way of the packets"></svg>
<div id="controls"><button id="play" class="main">▶ replay</button>
<button id="back">◀</button><button id="next">▶</button>
<input id="at" type="range" min="0" value="0" aria-label="event">
<label><input id="all" type="checkbox"> every packet</label></div>
</div><div class="card" id="panel"></div></main>
<div id="steps"></div>
<details><summary>What the client got, and who was listening</summary><pre id="answer"></pre></details>
"""


def to_html(trace: Trace) -> str:
    """Return the page. The trace's JSON is in it, so it can be taken out again."""
    # "</" would end the script element.
    data = dump(to_dict(trace), indented=False).replace("</", "<\\/")
    what = html.escape(trace.what or trace.url)
    here = Path(__file__)
    return "\n".join(
        (
            "<!doctype html>",
            f'<html lang="en"><meta charset="utf-8"><title>netpod trace: {what}</title>',
            '<meta name="viewport" content="width=device-width">',
            f"<style>\n{here.with_name('replay.css').read_text()}</style>",
            _BODY.format(
                what=what, verdict=html.escape(trace.verdict), sentence=html.escape(trace.sentence)
            ),
            f'<script type="application/json" id="trace">{data}</script>',
            f"<script>\n{here.with_name('replay.js').read_text()}</script></html>",
        )
    )
