"""Answers in a form in which kube-apiserver 1.20 and netpod give the same; accepted.yaml says what may differ."""

import functools
import re
from pathlib import Path
from typing import Any

import yaml

Json = Any


@functools.cache
def lists() -> Json:
    """What accepted.yaml says."""
    return yaml.safe_load((Path(__file__).parent / "accepted.yaml").read_text())


@functools.cache
def _rules(name: str) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(rule["from"]), rule["to"]) for rule in lists()[name]]


def message(text: str) -> str:
    """The message in words that both versions share."""
    for pattern, instead in _rules("texts"):
        text = pattern.sub(instead, text)
    return text


def path(text: str) -> str:
    """The field's path in a form that both versions share."""
    for pattern, instead in _rules("paths"):
        text = pattern.sub(instead, text)
    return text


def comparable(answer: Json) -> Json:
    """What of an answer is compared: code, the set of causes, or the object without zero values.

    A field that holds its zero value and one that is absent are the same to every client.
    """
    code = answer["code"]
    if "object" in answer:
        return {"code": code, "object": _pruned(_without(answer["object"]))}
    if code == 400:
        return {"code": code}
    causes = answer.get("causes")
    if causes is None:
        return {
            "code": code,
            "reason": answer.get("reason"),
            "message": message(answer.get("message", "")),
        }
    # Upstream tells some twice, having looked twice.
    found = sorted({(path(at), reason, message(text)) for at, reason, text in causes})
    return {"code": code, "reason": answer.get("reason"), "causes": [list(it) for it in found]}


def _without(obj: Json) -> Json:
    for dotted in lists()["fields"].get(obj.get("kind", ""), ()):
        _remove(obj, dotted)
    return obj


def _remove(at: Json, dotted: str) -> None:
    if not isinstance(at, dict):
        return
    if dotted in at:
        del at[dotted]
        return
    for name in list(at):
        if dotted.startswith(f"{name}."):
            _remove(at[name], dotted[len(name) + 1 :])


def _pruned(value: Json) -> Json:
    if isinstance(value, dict):
        kept = {name: _pruned(item) for name, item in value.items()}
        return {
            name: item for name, item in kept.items() if item not in (None, "", 0, False, {}, [])
        }
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value


def exempt(group: str, case: str) -> str:
    """Why a case is not compared; empty when it is."""
    for pattern, why in _cases(group).items():
        if re.search(pattern, case):
            return str(why)
    return ""


def reasons(group: str) -> list[str]:
    """All reasons for which cases of a group are not compared."""
    return list(_cases(group).values())


def _cases(group: str) -> dict[str, str]:
    found: dict[str, str] = (lists().get("cases") or {}).get(group, {})
    return found
