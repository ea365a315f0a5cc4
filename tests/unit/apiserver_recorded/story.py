"""Stories: requests in YAML, and what a server answers to them, made comparable.

A story is a list of steps, asked in order of a fresh server:

    - put: [...]                        manifests to create, with their status
    - ask: GET /api/v1/pods?limit=1     method and path; ${name} is what an earlier step kept
      as: alice                         whose token (admin)
      headers: {Accept: ...}
      body: {...} or text
      each: [...]                       the same step for several values of ${each}
      keep: {uid: metadata.uid}         from the answer
      events: 2                         lines to read of a watch
      shown: metadata.finalizers        only this part of the answer is compared
      newer: why                        Kubernetes 1.20 said something else; `answer` is what is right now
      answer: {...}

What differs from run to run (uids, revisions, times, tokens) is replaced by a word for it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from yarl import URL

FOLDER = Path(__file__).parent
TOKENS = {"admin": ("admin", ["system:masters"]), "alice": ("alice", ["dev"]), "bob": ("bob", [])}
HEADERS = ("Content-Type", "Warning", "Retry-After", "Location", "Allow", "Cache-Control")

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NOW = re.compile(r"20(2[6-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_AGE = re.compile(r"(\d+[ydhms]){1,2}")
_VERSIONS = re.compile(
    r"(version in use \(|resource version: |current: "
    r"|ResourceVersion in (?:precondition|object meta): |ResourceVersion in record \()\d+"
)
_POINTER = re.compile(r"0xc[0-9a-f]{9}\b")
_KEPT = re.compile(r"\$\{(\w+)\}")

Json = Any


def stories() -> list[str]:
    """Names of all stories."""
    return sorted(path.stem for path in (FOLDER / "stories").glob("*.yaml"))


def load(name: str) -> list[dict[str, Json]]:
    """A story's steps."""
    text = (FOLDER / "stories" / f"{name}.yaml").read_text()
    return list(_spread(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))))


def _spread(steps: list[dict[str, Json]]) -> Iterator[dict[str, Json]]:
    for step in steps:
        for value in step.pop("each", [None]):
            yield (
                step
                if value is None
                else json.loads(json.dumps(step).replace("${each}", json.dumps(value)[1:-1]))
            )


def answers(name: str) -> list[Json]:
    """What the real server answered, a line for each step."""
    return _lines(f"{name}.jsonl")


def newer() -> dict[str, Json]:
    """By what `keyed` tells: the answer of today where 1.20 gave another, or where we differ; and `why`."""
    return {line["step"]: line for line in _lines("newer.jsonl")}


def keyed(name: str) -> list[tuple[str, dict[str, Json]]]:
    """A story's steps with what tells each from all others of all stories."""
    seen: dict[str, int] = {}
    found = []
    for step in load(name):
        text = f"{name}: {json.dumps(step, sort_keys=True, ensure_ascii=False)}"
        seen[text] = seen.get(text, 0) + 1
        found.append((f"{text} #{seen[text]}" if seen[text] > 1 else text, step))
    return found


def _lines(name: str) -> list[Json]:
    return [json.loads(line) for line in (FOLDER / "answers" / name).read_text().splitlines()]


class Teller:
    """Asks one server the steps of a story."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base
        self._kept: dict[str, str] = {}

    def _filled(self, text: str) -> str:
        return _KEPT.sub(lambda found: self._kept[found[1]], text)

    async def ask(self, step: Mapping[str, Json]) -> Json:
        """One step's answer, comparable."""
        if "put" in step:
            return [await self._put(manifest) for manifest in step["put"]]
        method, _, path = self._filled(step["ask"]).partition(" ")
        who = step.get("as", "admin")
        headers = {"User-Agent": "story/1"} | ({"Authorization": f"Bearer {who}"} if who else {})
        headers |= {k: self._filled(v) for k, v in step.get("headers", {}).items()}
        body = step.get("body")
        data = None
        if body is not None:
            data = self._filled(body if isinstance(body, str) else json.dumps(body)).encode()
            patch = "application/strategic-merge-patch+json"
            headers.setdefault("Content-Type", patch if method == "PATCH" else "application/json")
        url = URL(self._base + path, encoded=True)
        skipped = ("Content-Type",) if data is None else ()
        async with self._session.request(
            method, url, data=data, headers=headers, skip_auto_headers=skipped
        ) as answer:
            count = step.get("events")
            if count is None:
                text = await answer.text()
            else:
                lines = [await answer.content.readline() for _ in range(count)]
                text = b"".join(lines).decode()
            return self._comparable(step, answer, text)

    async def _put(self, manifest: Json) -> list[int]:
        """Create an object and write its status; the codes of both."""
        path = _collection(manifest)
        made = await self.ask({"ask": f"POST {path}", "body": manifest})
        if "status" not in manifest:
            return [made["code"]]
        name = manifest["metadata"]["name"]
        told = await self.ask({"ask": f"PUT {path}/{name}/status", "body": manifest})
        return [made["code"], told["code"]]

    def _comparable(
        self, step: Mapping[str, Json], answer: aiohttp.ClientResponse, text: str
    ) -> Json:
        found: Json
        try:
            found = (
                [json.loads(line) for line in text.splitlines()]
                if "events" in step
                else json.loads(text)
            )
        except ValueError:
            found = text
        for name, path in step.get("keep", {}).items():
            self._kept[name] = str(part(found, path))
        if "shown" in step and answer.status < 300:
            found = part(found, step["shown"])
        told = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
        return {
            "code": answer.status,
            "headers": told,
            "body": comparable(
                found, step.get("shown", "").rpartition(".")[2], managed="managed" in step
            ),
        }


def part(value: Json, path: str) -> Json:
    """What stands at a dotted path, None where nothing does; `*` is every item of a list."""
    first, _, rest = path.partition(".")
    if not path:
        return value
    if first == "*":
        return [part(item, rest) for item in value]
    if isinstance(value, list):
        return part(value[int(first)], rest) if int(first) < len(value) else None
    return part(value.get(first), rest) if isinstance(value, dict) else None


def comparable(value: Json, key: str = "", managed: bool = False) -> Json:
    """The value without what differs from run to run; managedFields only where they are what is asked about."""
    dropped = ("selfLink",) if managed else ("selfLink", "managedFields")
    match value:
        case dict():
            if (
                "priority" in value and "format" in value
            ):  # a column: what it is for is said in our words
                dropped = ("description",)
            return {
                k: comparable(v, k, managed)
                for k, v in value.items()
                if k not in dropped and v is not None and (k, v) != ("generation", 1)
            }
        case list():
            return [comparable(item, key, managed) for item in value]
        case str() if key == "resourceVersion" and value not in ("", "0"):
            return "<revision>"
        case str() if key == "continue" and value:
            return "<token>"
        case str() if key == "cells" and _AGE.fullmatch(value):
            return "<age>"
        case str():
            value = _VERSIONS.sub(r"\1<revision>", _NOW.sub("<now>", _UUID.sub("<uid>", value)))
            return _POINTER.sub("<pointer>", value)
    return value


def _collection(manifest: Json) -> str:
    version, kind = manifest["apiVersion"], manifest["kind"]
    plural = kind.lower() + (
        "es" if kind.endswith("s") and kind != "Endpoints" else "s" if kind != "Endpoints" else ""
    )
    plural = plural[:-2] + "ies" if plural.endswith("ys") else plural
    namespace = manifest["metadata"].get("namespace")
    place = f"namespaces/{namespace}/" if namespace else ""
    return f"/{'apis' if '/' in version else 'api'}/{version}/{place}{plural}"
