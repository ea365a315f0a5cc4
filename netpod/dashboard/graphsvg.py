"""The graph as a picture that looks like the dashboard's topology: one SVG without script, or a page around it (pure).

outside ── edge     Ingresses and Services
═══════════╧═════════════ underlay
 ┌ node ┐  ┌ node ┐       pods inside
"""

import html
from dataclasses import dataclass

from netpod.dashboard.graph import Graph, Vertex

WIDTH = 1100
_MARGIN, _GAP, _CARD = 26, 18, 330
_POD = (148, 38)
_CHIP = (186, 36)
_STYLE = """
svg{font:13px system-ui,"DejaVu Sans",sans-serif;background:#f6f7f9}
rect{fill:#fff;stroke:#8fa1b3;stroke-width:1.5}text{fill:#1b2733}
.name{font-weight:600;font-size:12px}.sub{font-size:11.5px;fill:#5a6877}
.wire{stroke:#8fa1b3;stroke-width:2.5}.bar{stroke:#8fa1b3;stroke-width:7;stroke-linecap:round}
.leads{fill:none;stroke:#6b3fa0;stroke-width:1.6;opacity:.75}.maybe{stroke-dasharray:4 4}
.pod.good{fill:#e2f4e8;stroke:#1f7a3f}.wait{fill:#fdf1d7;stroke:#8a5a00}.bad{fill:#fde7e5;stroke:#b3261e}
.port{fill:#fff;stroke:#8fa1b3;stroke-width:2.5}.bridge{stroke:#8fa1b3;stroke-width:5;stroke-linecap:round}
.pill{fill:#e3effc;stroke:#0b6bcb}.pilltext{font-size:11.5px;fill:#0b6bcb;text-anchor:middle}
.net{font-size:11.5px;fill:#5a6877;text-anchor:end}
.service.good,.ingress.good{fill:#f0e9fa;stroke:#6b3fa0}.ingress{stroke-dasharray:5 3}
"""


@dataclass(frozen=True, slots=True)
class _Box:
    x: float
    y: float
    w: float
    h: float

    @property
    def cx(self) -> float:
        return self.x + self.w / 2


def to_svg(graph: Graph) -> str:
    """Return the picture."""
    boxes, bars, height = _layout(graph)
    parts = [_line("bar", _MARGIN / 2, y, WIDTH - _MARGIN, y) for y in bars]
    outside, edge = boxes["at_outside"], boxes["at_edge"]
    middle = outside.y + outside.h / 2
    parts.append(_line("wire", outside.x + outside.w, middle, edge.x, middle))
    if bars:
        parts.append(_line("wire", edge.cx, edge.y + edge.h, edge.cx, bars[0]))
        parts.append(_line("wire", _MARGIN / 2, bars[0], _MARGIN / 2, bars[-1]))
    for node in graph.of("node"):
        box = boxes[node.id]
        parts.append(_line("wire", box.cx, max(y for y in bars if y < box.y), box.cx, box.y))
    # Lines over the nodes, but under what has a name that one wants to read.
    parts += [_vertex(vertex, boxes[vertex.id]) for vertex in graph.of("node")]
    for each in graph.edges:
        if each.source.startswith(("service_", "ingress_")):
            parts.append(_curve(boxes[each.source], boxes[each.target], certain=each.certain))
    parts += [_vertex(v, boxes[v.id]) for v in graph.vertices if v.kind != "node"]
    title = html.escape(f"netpod: {graph.title}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" role="img"><title>{title}</title>'
        f"<style>{_STYLE}</style>{''.join(parts)}</svg>"
    )


def to_html(graph: Graph) -> str:
    """Return the picture in a page."""
    title = html.escape(f"netpod: {graph.title}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<body style="margin:2rem auto;max-width:{WIDTH}px;font-family:system-ui,sans-serif">'
        f"<h1>{title}</h1>{to_svg(graph)}</body></html>"
    )


def _layout(graph: Graph) -> tuple[dict[str, _Box], list[float], float]:
    """Where everything stands, the underlay's bars, and the height."""
    boxes = {"at_outside": _Box(_MARGIN, _MARGIN, 142, 54), "at_edge": _Box(242, _MARGIN, 190, 54)}
    chips = graph.of("ingress", "service")
    left, (w, h) = 470, _CHIP
    across = (WIDTH - _MARGIN - left + 8) // (w + 8)
    for number, chip in enumerate(chips):
        row, column = divmod(number, across)
        boxes[chip.id] = _Box(left + column * (w + 8), _MARGIN - 8 + row * (h + 8), w, h)
    rows = -(-len(chips) // across)
    y = max(_MARGIN + 54.0, _MARGIN - 8 + rows * (h + 8)) + 34
    bars: list[float] = []
    nodes = graph.of("node")
    columns = max(1, (WIDTH - 2 * _MARGIN + _GAP) // (_CARD + _GAP))
    for start in range(0, len(nodes), columns):
        bars.append(y)
        bottom = y + 30
        for column, node in enumerate(nodes[start : start + columns]):
            x = _MARGIN + column * (_CARD + _GAP)
            pods = [pod for pod in graph.of("pod") if pod.inside == node.id]
            tall = 58 + max(1, -(-len(pods) // 2)) * (_POD[1] + 6) + 8
            boxes[node.id] = _Box(x, y + 30, _CARD, tall)
            for number, pod in enumerate(pods):
                row, side = divmod(number, 2)
                place = (x + 12 + side * (_POD[0] + 8), y + 82 + row * (_POD[1] + 6))
                boxes[pod.id] = _Box(*place, *_POD)
            bottom = max(bottom, y + 30 + tall)
        y = bottom + 26
    for number, pod in enumerate(p for p in graph.of("pod") if not p.inside):
        boxes[pod.id] = _Box(_MARGIN + number * (_POD[0] + 8), y, *_POD)
        y += 0 if number else _POD[1] + 12
    return boxes, bars, y + 6


def _vertex(vertex: Vertex, box: _Box) -> str:
    middle = 20 if vertex.kind == "node" else box.h / 2
    tip = html.escape(f"{vertex.kind} {vertex.name} {vertex.sub}")
    room = box.w - 20
    return (
        f'<g><title>{tip}</title><rect class="{vertex.kind} {vertex.state}" x="{box.x:.0f}" y="{box.y:.0f}" '
        f'width="{box.w:.0f}" height="{box.h:.0f}" rx="{10 if vertex.kind == "node" else 6}"/>'
        + _text("name", box.x + 10, box.y + middle - 2, _told(vertex, int(room / 7.4)))
        + _text("sub", box.x + 10, box.y + middle + 13, _short(vertex.sub, int(room / 6.4)))
        + (_inside(vertex, box) if vertex.kind == "node" else "")
        + "</g>"
    )


def _inside(node: Vertex, box: _Box) -> str:
    """A node's own parts: its link, netfilter, and the bridge of its pods."""
    return (
        f'<circle class="port" cx="{box.cx:.0f}" cy="{box.y:.0f}" r="5"/>'
        f'<rect class="pill" x="{box.cx - 34:.0f}" y="{box.y + 12:.0f}" width="68" height="20" rx="10"/>'
        + _text("pilltext", box.cx, box.y + 26, "netfilter")
        + _text("net", box.x + box.w - 10, box.y + 42, f"cni0 {node.network}")
        + _line("bridge", box.x + 10, box.y + 46, box.x + box.w - 10, box.y + 46)
    )


def _told(vertex: Vertex, length: int) -> str:
    """A pod's name as a person tells it: what it belongs to, and the end that tells it from its siblings."""
    if not vertex.owner or not vertex.name.startswith(f"{vertex.owner}-"):
        return _short(vertex.name, length)
    end = vertex.name.rpartition("-")[2]
    room = max(1, length - len(end) - 1)
    owner = vertex.owner if len(vertex.owner) <= room else f"{vertex.owner[: room - 1]}…"
    return f"{owner} {end}"


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}">{html.escape(text)}</text>'


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}"/>'


def _curve(a: _Box, b: _Box, *, certain: bool) -> str:
    if abs(a.y - b.y) < a.h:  # side by side
        a, b = (a, b) if a.x < b.x else (b, a)
        y = a.y + a.h / 2
        return f'<path class="leads" d="M{a.x + a.w:.0f} {y:.0f}L{b.x:.0f} {b.y + b.h / 2:.0f}"/>'
    y1, y2 = (a.y + a.h, b.y) if a.y < b.y else (a.y, b.y + b.h)
    bend = (y1 + y2) / 2
    kind = "leads" if certain else "leads maybe"
    return (
        f'<path class="{kind}" d="M{a.cx:.0f} {y1:.0f}C{a.cx:.0f} {bend:.0f} '
        f'{b.cx:.0f} {bend:.0f} {b.cx:.0f} {y2:.0f}"/>'
    )


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"…{text[1 - length :]}"
