"""YAML as the JSON it stands for: what JSON cannot say is refused, however cunningly it is written.

A few bytes of YAML can nest deeper than the C loader's stack, which kills the process, and aliases can stand for more
than any memory holds. Both are found before anything is built.

Source: sigs.k8s.io/yaml (keys that are no strings); gopkg.in/yaml.v3 decode.go (limit on aliases).
"""

import contextlib
import functools
import math
from collections.abc import Sequence
from typing import Any

import orjson

from netpod.api.meta import Json
from netpod.errors import BadRequest

DEPTH = 200
"""Deepest nesting of an object. The encoder's own limit is 254, and lists and tables put objects into others."""
_ENCODER_DEPTH = 254

SHALLOW_BYTES = 4096
"""A text this short cannot exhaust the loader's stack: each level takes a byte at least."""


def load(text: str | bytes) -> list[Json]:
    """All documents as plain JSON values; empty ones are None.

    Raises:
        BadRequest: it does not parse, nests deeper than DEPTH, or says what JSON cannot.
    """
    import yaml

    if text[:1] in ("{", b"{"):
        # Most clients write JSON into what may be YAML; it is read in a tenth of the time.
        with contextlib.suppress(orjson.JSONDecodeError):
            value = orjson.loads(text)
            check_depth(value, text)
            return [value]
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        if len(text) > SHALLOW_BYTES:
            _check_events(yaml, loader, text)
        documents = list(yaml.load_all(text, Loader=_text_dates(loader)))
        budget = [len(text) + 1]
        return [_plain(document, budget, 0) for document in documents]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise BadRequest(f"cannot parse YAML{where}: {problem}") from error
    except (ValueError, OverflowError, RecursionError, UnicodeError) as error:
        raise BadRequest(f"cannot parse YAML: {str(error).splitlines()[0]}") from error


def check_depth(value: Json, text: str | bytes | None = None) -> None:
    """Refuse what nests too deep to be written again; `text` is the JSON it was, if it was.

    Raises:
        BadRequest: it nests deeper than DEPTH.
    """
    if text is not None:
        # Most texts have too few brackets to nest so deep, and these are counted in a moment.
        data = text.encode() if isinstance(text, str) else text
        if data.count(b"{") + data.count(b"[") <= DEPTH:
            return
    # The encoder looks ten times as fast as Python does: it takes what lies this deep in lists, or it must be counted.
    lying = value
    for _ in range(_ENCODER_DEPTH - DEPTH):
        lying = [lying]
    with contextlib.suppress(orjson.JSONEncodeError):
        orjson.dumps(lying)
        return
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise too_deep()


def too_deep() -> BadRequest:
    """The error of whatever nests deeper than DEPTH."""
    return BadRequest(f"cannot decode the body: it nests deeper than {DEPTH} levels")


def _check_events(yaml: Any, loader: type, text: str | bytes) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH:
                raise too_deep()
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _plain(value: Any, budget: list[int], depth: int) -> Json:
    """The value as JSON has it; without aliases there are at most as many values as bytes."""
    budget[0] -= 1
    if budget[0] < 0:
        raise BadRequest("cannot parse YAML: document contains excessive aliasing")
    if depth > DEPTH:
        raise too_deep()
    if isinstance(value, dict):
        return {_key(k): _plain(v, budget, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(item, budget, depth + 1) for item in value]
    if isinstance(value, str):
        value.encode()
        return value
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRequest(f"cannot parse YAML: JSON has no {value}")
    if value is None or isinstance(value, int | float):
        return value
    raise BadRequest(f"cannot parse YAML: JSON has no {type(value).__name__}")


def _key(key: Any) -> str:
    if isinstance(key, str):
        key.encode()
        return key
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, int | float):
        return str(key)
    raise BadRequest("cannot parse YAML: a key must be a string")


@functools.cache
def _text_dates(loader: type) -> type:
    """Return a loader that leaves timestamps as text, as JSON does."""
    resolvers: dict[str, Sequence[tuple[str, Any]]] = loader.yaml_implicit_resolvers  # type: ignore[attr-defined]
    kept = {
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in resolvers.items()
    }
    return type("ManifestLoader", (loader,), {"yaml_implicit_resolvers": kept})
