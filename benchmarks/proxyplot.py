"""A plot of what benchmarks/proxymodes.py found: panels side by side, both axes logarithmic, as SVG text."""

import math
from collections.abc import Mapping, Sequence

Series = Mapping[str, Mapping[int, float]]
"""Value by number of Services by way."""

_WIDTH, _HEIGHT, _LEFT, _TOP = 380, 260, 60, 40
_COLORS = ("#888888", "#c0392b", "#e08e0b", "#2367b0", "#2e8b57")


def svg(panels: Sequence[tuple[str, Series]]) -> str:
    """The whole document; every panel has its title and the same ways."""
    width, height = len(panels) * (_WIDTH + _LEFT + 20), _HEIGHT + _TOP + 80
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for index, (title, series) in enumerate(panels):
        left = index * (_WIDTH + _LEFT + 20) + _LEFT
        out += _panel(left, title, series)
    for index, way in enumerate(panels[0][1]):
        x, y = _LEFT + index * 170, height - 14
        color = _COLORS[index % len(_COLORS)]
        out.append(
            f'<line x1="{x}" y1="{y - 4}" x2="{x + 22}" y2="{y - 4}" stroke="{color}" stroke-width="2"/>'
        )
        out.append(f'<text x="{x + 28}" y="{y}">{way}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def _panel(left: int, title: str, series: Series) -> list[str]:
    numbers = sorted({number for row in series.values() for number in row})
    values = [value for row in series.values() for value in row.values()]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)

    def x(number: int) -> float:
        first, last = math.log10(numbers[0]), math.log10(numbers[-1])
        return left + (math.log10(number) - first) / ((last - first) or 1) * _WIDTH

    def y(value: float) -> float:
        return _TOP + (high - math.log10(value)) / (high - low) * _HEIGHT

    out = [f'<text x="{left}" y="{_TOP - 14}" font-weight="bold">{title}</text>']
    for power in range(low, high + 1):
        at = y(10**power)
        out.append(
            f'<line x1="{left}" y1="{at:.1f}" x2="{left + _WIDTH}" y2="{at:.1f}" stroke="#dddddd"/>'
        )
        out.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{10**power:,}</text>')
    for number in numbers:
        out.append(
            f'<text x="{x(number):.1f}" y="{_TOP + _HEIGHT + 18}" text-anchor="middle">{number:,}</text>'
        )
    middle = left + _WIDTH / 2
    out.append(
        f'<text x="{middle:.1f}" y="{_TOP + _HEIGHT + 36}" text-anchor="middle">Services</text>'
    )
    for index, row in enumerate(series.values()):
        color = _COLORS[index % len(_COLORS)]
        points = [(x(number), y(value)) for number, value in sorted(row.items())]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{color}"/>' for a, b in points]
    return out
