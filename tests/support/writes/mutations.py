"""Every field of every valid object, left out, of another type, empty, too long, too large, doubled and changed."""

from collections.abc import Iterator
from typing import Any

from tests.support.writes import playing

Json = Any
Steps = list[Json]

STRINGS = ("", "Bad_Value!", "a" * 64, "a" * 300, "a.b", "A/b")
NUMBERS = (-1, 0, 1, 65535, 70000, 2147483647)
AMOUNTS = ("0", "-1", "1.5", "1e99", "abc")
ADDRESSES = ("256.1.1.1", "127.0.0.1", "0.0.0.0", "169.254.1.1", "224.0.0.1", "::1", "010.1.1.1")
FILES = ("/", "a//b", "../a", "a/b/c", "/a/../b")
TRIED = ("CustomResourceDefinition",)
"""Kinds that are only tried: their objects go and change by themselves, in time of their own."""

NAMES = ("metadata.name", "metadata.namespace")


def paths(obj: Json, at: str = "") -> Iterator[tuple[str, Json]]:
    """Every path below an object, with what stands there."""
    if isinstance(obj, dict):
        for key, value in obj.items():
            plain = "." not in key and "/" not in key
            path = (f"{at}.{key}" if at else key) if plain else f"{at}[{key}]"
            yield path, value
            yield from paths(value, path)
    elif isinstance(obj, list):
        for number, value in enumerate(obj):
            yield f"{at}[{number}]", value
            yield from paths(value, f"{at}[{number}]")


def instead(value: Json) -> list[Json]:
    """Other values of the same type."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [number for number in NUMBERS if number != value]
    if isinstance(value, str):
        found = list(STRINGS)
        if value[:1].isdigit():
            found += AMOUNTS
        if "." in value and value.replace(".", "").isdigit():
            found += ADDRESSES
        if "%" in value:
            found += ("0%", "150%", "-1%", "x%")
        if "/" in value:
            found += FILES
        return [text for text in found if text != value]
    if isinstance(value, list):
        return [[], value + value[:1]] if value else [[]]
    return [{}]


def mistyped(value: Json) -> Json:
    """A value of another type."""
    if isinstance(value, bool):
        return "yes"
    if isinstance(value, int):
        return "x"
    if isinstance(value, str):
        return 7
    return "x" if isinstance(value, list) else ["x"]


def creations(kind: str) -> Iterator[tuple[str, Steps]]:
    """The object made with one field otherwise."""
    more: Json = {"query": {"dryRun": "All"}} if kind in TRIED else {}
    if not more:
        yield "as it is", [{"create": kind}, {"put": {"metadata.annotations": {"a": "b"}}}]
    for path, value in paths(playing.objects()[kind]):
        if path in ("apiVersion", "kind"):
            continue
        for other in (None, *instead(value), mistyped(value)):
            yield _named(path, other), [{"create": kind, "set": {path: other}, **more}]


def updates(kind: str) -> Iterator[tuple[str, Steps]]:
    """The object updated in one field."""
    for path, value in paths(playing.objects()[kind]):
        if path in ("apiVersion", "kind", *NAMES):
            continue
        others = [None, *instead(value)[:3], *(["other"] if isinstance(value, str) else [])]
        for other in others:
            yield f"update {_named(path, other)}", [{"create": kind}, {"put": {path: other}}]


def _named(path: str, value: Json) -> str:
    shown = repr(value)
    return f"{path} = {shown if len(shown) < 40 else shown[:30] + '...'}"


def cases(kind: str) -> Iterator[tuple[str, Steps]]:
    """All of a kind, with their names."""
    yield from creations(kind)
    if kind not in TRIED:
        yield from updates(kind)
