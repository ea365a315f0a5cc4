"""Objects for people and programs: tables, JSON, YAML, names, jsonpath."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from netpod.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
FORMATS = ("wide", "json", "yaml", "name")


def output_option(command: F) -> F:
    """Add -o."""
    return click.option(
        "-o",
        "--output",
        default="",
        metavar="FORMAT",
        help="wide, json, yaml, name or jsonpath=EXPRESSION.",
    )(command)


def check_format(output: str) -> None:
    """Raise UsageError for a format we do not write."""
    if output and output not in FORMATS and not output.startswith("jsonpath="):
        raise UsageError(
            f'unable to match a printer suitable for the output format "{output}", '
            f"allowed formats are: {', '.join(FORMATS)}, jsonpath="
        )


def width() -> int:
    """Columns of the terminal; 0 in a pipe, where lines stay whole, unless COLUMNS says otherwise."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size((100, 24)).columns
    return 0


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Align rows as kubectl does: three spaces between columns, none at the end."""
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def table(
    data: dict[str, Any], *, wide: bool, namespaces: bool, kind: str = "", header: bool = True
) -> str:
    """Lay out a metav1.Table; `kind` prefixes names when several kinds are shown together."""
    shown = [
        index
        for index, column in enumerate(data["columnDefinitions"])
        if wide or column.get("priority", 0) == 0
    ]
    rows: list[list[str]] = []
    if header:
        titles = [data["columnDefinitions"][i]["name"].upper() for i in shown]
        rows.append((["NAMESPACE"] if namespaces else []) + titles)
    for row in data["rows"] or ():
        cells = [_cell(row["cells"][i]) for i in shown]
        if kind:
            cells[0] = f"{kind}/{cells[0]}"
        if namespaces:
            cells.insert(0, row["object"]["metadata"].get("namespace", ""))
        rows.append(cells)
    return columns(rows)


def _cell(value: Any) -> str:
    if value is None:
        return "<none>"
    return str(value).lower() if isinstance(value, bool) else str(value)


def dump(value: Any, output: str) -> str:
    """Write a JSON value as `json`, `yaml` or by a `jsonpath=` expression."""
    if output == "json":
        import orjson

        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    if output == "yaml":
        import yaml

        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        return str(yaml.dump(value, Dumper=dumper, sort_keys=True, allow_unicode=True)).rstrip()
    return jsonpath(value, output.removeprefix("jsonpath="))


_STEP = re.compile(r"\.?(?P<name>[\w-]+|'[^']*')|\[(?P<index>-?\d+|\*)\]|\['(?P<quoted>[^']*)'\]")


def jsonpath(value: Any, expression: str) -> str:
    """Evaluate kubectl's everyday jsonpath: `{.a.b[0].c}`, `[*]`, `{range .items[*]}...{end}`, text between.

    Raises:
        UsageError: the expression uses something else.
    """
    outside = re.sub(r"\{[^{}]*\}", "", expression)
    if "{" in outside or "}" in outside:
        raise UsageError(f"cannot read jsonpath {expression!r}: a brace is not closed")
    loop = re.fullmatch(r"(.*?)\{range ([^}]*)\}(.*)\{end\}(.*)", expression, re.DOTALL)
    if loop:
        before, over, body, after = loop.groups()
        inner = "".join(jsonpath(item, body) for item in _walk(value, over))
        return jsonpath(value, before) + inner + jsonpath(value, after)
    if "{" not in expression and expression.startswith("."):
        expression = f"{{{expression}}}"

    def evaluate(match: re.Match[str]) -> str:
        text = match.group(1).strip()
        if text.startswith('"'):
            return text.strip('"').encode().decode("unicode_escape")
        return " ".join(_text(found) for found in _walk(value, text))

    return re.sub(r"\{([^}]*)\}", evaluate, expression)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    import orjson

    return orjson.dumps(value).decode()


def _walk(value: Any, expression: str) -> list[Any]:
    rest = expression.removeprefix("$").removeprefix("@")
    found = [value]
    while rest and rest != ".":
        step = _STEP.match(rest)
        if step is None:
            raise UsageError(f"cannot read jsonpath {expression!r} at {rest!r}")
        rest = rest[step.end() :]
        found = [inner for outer in found for inner in _step(outer, step)]
    return found


def _step(value: Any, step: "re.Match[str]") -> list[Any]:
    name = step["name"] or step["quoted"]
    if name is not None:
        name = name.strip("'")
        return [value[name]] if isinstance(value, dict) and name in value else []
    if step["index"] == "*":
        if isinstance(value, dict):
            return list(value.values())
        return list(value) if isinstance(value, list) else []
    index = int(step["index"])
    inside = isinstance(value, list) and -len(value) <= index < len(value)
    return [value[index]] if inside else []
