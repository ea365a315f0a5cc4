"""Rows in columns that fit a terminal: what has no room beside goes below, what has none alone is cut in its middle."""

from collections.abc import Collection, Sequence

_INDENT = 4


def columns(
    rows: Sequence[Sequence[str]], width: int = 0, *, gap: int = 2, soft: Collection[int] = ()
) -> str:
    """Return rows as lines, headings first if there are any.

    Args:
        rows: All of the same length.
        width: Columns of the terminal; 0 is as wide as it gets. In a narrower one each row takes several lines, the
            first at the margin, the others indented, every row alike.
        gap: Spaces between columns.
        soft: Columns that are cut to half the terminal's width rather than given a line of their own.
    """
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    if width and sum(widths) + gap * (len(widths) - 1) > width:
        widths = [min(w, width // 2) if i in soft else w for i, w in enumerate(widths)]
    lines = _lines(widths, width, gap)
    return "\n".join(
        (
            " " * (_INDENT if number else 0)
            + (" " * gap).join(elide(row[i], widths[i]).ljust(widths[i]) for i in line)
        ).rstrip()
        for row in rows
        for number, line in enumerate(lines)
    )


def _lines(widths: list[int], width: int, gap: int) -> list[list[int]]:
    """Which columns stand in which line of a row; too wide ones are narrowed in `widths`."""
    if not width or sum(widths) + gap * (len(widths) - 1) <= width:
        return [list(range(len(widths)))]
    lines: list[list[int]] = [[]]
    used = 0
    for index in range(len(widths)):
        room = width - (_INDENT if len(lines) > 1 else 0)
        if lines[-1] and used + gap + widths[index] > room:
            lines.append([])
            used, room = 0, width - _INDENT
        widths[index] = min(widths[index], room)
        used += widths[index] + (gap if lines[-1] else 0)
        lines[-1].append(index)
    return lines


def elide(text: str, width: int) -> str:
    """Cut a text in its middle so that it fits: names differ at both ends."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return text[: width - 1 - tail] + "…" + (text[-tail:] if tail else "")
