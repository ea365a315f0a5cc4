"""What kube-apiserver answered, kept one case a line: tests/unit/apiserver/upstream_answers/KIND.jsonl.

    ["spec.replicas = -1", [{"create": "Deployment", "set": {"spec.replicas": -1}}], [{"code": 422, "causes": [...]}]]

Of the thousands of mutations those are kept that upstream answers each in a way of its own; of what it stores the spec
and status, and of mutations that it takes only that it does, for the kinds that packets depend on.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.support.writes import (
    accepted,
    cases_families,
    cases_policies,
    cases_service,
    mutations,
    playing,
)

Json = Any
Case = tuple[str, list[Json]]

FOLDER = Path(__file__).parents[2] / "unit" / "apiserver" / "upstream_answers"
DUAL = "families-dual"
"""Group of cases that are played on a cluster of two address families."""

MOST = 25
"""How many mutations are kept of a kind that no packet depends on."""

DATA_PATH = (
    "Service",
    "Endpoints",
    "EndpointSlice",
    "Ingress",
    "IngressClass",
    "NetworkPolicy",
    "Pod",
    "Node",
    "Namespace",
)

_QUOTED = re.compile(r'value: ("(\\.|[^"\\])*"|-?\d+|true|false)')
_NUMBER = re.compile(r"\[\d+\]")


def groups() -> list[str]:
    """Names of the files: kinds, and the groups of cases written by hand."""
    return [*playing.objects(), "services", "policies", "families", DUAL]


def cases(group: str) -> Iterator[Case]:
    """All cases of a group."""
    if group == "services":
        yield from cases_service.cases()
    elif group == "policies":
        yield from cases_policies.policies()
    elif group in ("families", DUAL):
        yield from cases_families.families()
    else:
        yield from mutations.cases(group)


def is_mutated(group: str) -> bool:
    """Whether the group's cases are made by machine, so that many are alike."""
    return group in playing.objects()


def brief(answers: list[Json], name: str, group: str) -> list[Json]:
    """The answers as they are kept and compared."""
    whole = name == "as it is" or not is_mutated(group)
    return [_brief(answer, whole=whole) for answer in answers]


def _brief(answer: Json, *, whole: bool) -> Json:
    answer = accepted.comparable(answer)
    if "object" in answer:
        obj = answer.pop("object")
        if whole:
            metadata = obj.get("metadata", {})
            kept = {
                name: metadata[name] for name in ("generation", "annotations") if name in metadata
            }
            answer["object"] = {
                k: v for k, v in obj.items() if k not in ("apiVersion", "kind", "metadata")
            } | kept
    return answer


def shape(group: str, name: str, steps: list[Json], answers: list[Json]) -> str:
    """What makes a mutation like others: the fields that upstream names, and its words, but for the values."""
    last = answers[-1]
    if "causes" in last:
        told = [[_leaf(at), _QUOTED.sub("V", text)] for at, _, text in last["causes"]]
        # That a spec may not change so is told beside what is wrong with it.
        return json.dumps([it for it in told if it[0] != "spec"] or told)
    if name == "as it is":
        return name
    place = ""
    if group in DATA_PATH:
        change = steps[-1].get("set") or steps[-1].get("put") or {"": None}
        place = _leaf(_NUMBER.sub("", next(iter(change))).rpartition(".")[0])
    taken = last["code"] < 300
    return json.dumps(["taken" if taken else last["code"], place, last.get("message")])


def _leaf(path: str) -> str:
    """The last field of a path."""
    return _NUMBER.sub("", path).rpartition(".")[2]


def write(group: str, found: Iterable[tuple[str, list[Json], list[Json]]]) -> None:
    """Keep the answers to a group's cases."""
    FOLDER.mkdir(exist_ok=True)
    seen: set[str] = set()
    lines = []
    for name, steps, answers in found:
        told = brief(answers, name, group)
        if is_mutated(group):
            alike = shape(group, name, steps, told)
            enough = group not in DATA_PATH and len(seen) >= MOST
            if alike in seen or enough or told[-1]["code"] >= 500:
                continue
            seen.add(alike)
        lines.append(json.dumps([name, steps, told], separators=(",", ":")))
    (FOLDER / f"{group}.jsonl").write_text("\n".join(lines) + "\n")


def read(group: str) -> Iterator[tuple[str, list[Json], list[Json]]]:
    """The cases kept of a group, with upstream's answers."""
    for line in (FOLDER / f"{group}.jsonl").read_text().splitlines():
        name, steps, answers = json.loads(line)
        yield name, steps, answers
