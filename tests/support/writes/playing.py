"""Writes that are asked of netpod and of a real kube-apiserver, and what each answers, in one comparable form.

A case is a list of steps on one object; a step is a small JSON object:

    {"create": KIND, "set": {PATH: VALUE}}     POST the kind's object of objects.yaml, changed at these paths
    {"put": {PATH: VALUE}, "sub": "status"}    read what the last step stored, change it, PUT it
    {"replace": {PATH: VALUE}}                 PUT what was created, changed, without a resourceVersion
    {"merge": BODY} {"strategic": BODY} {"json": BODY}      PATCH
    {"apply": BODY, "as": MANAGER}             server-side apply
    {"delete": true}

"query" adds parameters to any of them. A path is `spec.ports[0].port` or `metadata.labels[a.b/c]`; null removes.
"""

import functools
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import yaml

from netpod.api import registry

Json = Any
Ask = Callable[..., Awaitable[tuple[int, Json]]]
"""(method, path, body, headers=, **query) -> HTTP code and answer."""

HERE = Path(__file__).parent
PATCHES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}
_PART = re.compile(r"([^.\[\]]+)|\[([^\]]*)\]")
_VOLATILE = ("uid", "creationTimestamp", "resourceVersion", "selfLink", "managedFields")
_TOKEN_VOLUME = re.compile(r"\bkube-api-access-[a-z0-9]{5}\b")
_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@functools.cache
def objects() -> Mapping[str, Json]:
    """A valid object of each kind."""
    documents = yaml.safe_load_all((HERE / "objects.yaml").read_text())
    return {document["kind"]: document for document in documents}


def copied(obj: Json) -> Json:
    """A copy of plain JSON values."""
    return orjson.loads(orjson.dumps(obj))


def edited(obj: Json, changes: Mapping[str, Json]) -> Json:
    """A copy of the object with other values at these paths."""
    made = copied(obj)
    for path, value in changes.items():
        _put(made, [a or b for a, b in _PART.findall(path)], copied(value))
    return made


def _put(at: Json, parts: list[str], value: Json) -> None:
    for number, part in enumerate(parts[:-1]):
        inner: Json = [] if parts[number + 1].isdigit() else {}
        if isinstance(at, list):
            if int(part) >= len(at):
                at.append(inner)
            at = at[min(int(part), len(at) - 1)]
        else:
            if not isinstance(at.get(part), list | dict):
                at[part] = inner
            at = at[part]
    last = parts[-1]
    if isinstance(at, list):
        at[int(last) : int(last) + 1] = [] if value is None else [value]
    elif value is None:
        at.pop(last, None)
    else:
        at[last] = value


def _metadata(obj: Json) -> Json:
    found = obj.get("metadata")
    return found if isinstance(found, dict) else {}


class Player:
    """Plays cases against one server.

    Args:
        ask: Sends a request.
        versions: apiVersion by kind, where the server has another than netpod.
    """

    def __init__(self, ask: Ask, versions: Mapping[str, str] | None = None) -> None:
        self._ask = ask
        self._versions = versions or {}

    async def play(self, steps: list[Json]) -> list[Json]:
        """The answers to a case's steps, without what differs from run to run; nothing stays stored."""
        mask = _Mask(steps)
        made: dict[str, bool] = {}
        kind, path, sent, stored = "", "", {}, {}
        answers = []
        for step in steps:
            query = dict(step.get("query", {}))
            headers = {}
            if "create" in step:
                kind = step["create"]
                sent = edited(objects()[kind], step.get("set", {}))
                method, body, url = "POST", sent, self._path(kind, sent)
                path = f"{url}/{_metadata(sent).get('name', '')}"
            else:
                url = f"{path}/{step['sub']}" if "sub" in step else path
                verb = next(v for v in (*PATCHES, "put", "replace", "delete") if v in step)
                given = step[verb]
                if verb in PATCHES:
                    method, body = "PATCH", given
                    headers["Content-Type"] = PATCHES[verb]
                    if verb == "apply":
                        query = {"fieldManager": step["as"], **query}
                        if not path:
                            kind = given["kind"]
                            url = f"{self._path(kind, given)}/{given['metadata']['name']}"
                            path = url
                        body = self._there(given)
                elif verb == "delete":
                    method, body = "DELETE", None
                else:
                    method, body = "PUT", edited(stored if verb == "put" else sent, given)
            if method != "DELETE" and "apiVersion" in (body if isinstance(body, dict) else {}):
                body = self._there(body)
            code, answer = await self._ask(method, url, body, headers=headers, **query)
            if code in (200, 201) and method != "DELETE" and "sub" not in step:
                stored = answer
                path = f"{self._path(kind, answer)}/{answer['metadata']['name']}"
                if query.get("dryRun") is None:
                    made[path] = "finalizers" in answer["metadata"]
            answers.append(
                mask.answer(
                    code,
                    self._back(answer, kind),
                    managed=method == "PATCH" and headers["Content-Type"] == PATCHES["apply"],
                )
            )
        for path, held in made.items():
            await self._remove(path, held=held)
        return answers

    async def _remove(self, path: str, *, held: bool) -> None:
        if held:
            loose = {"metadata": {"finalizers": None}}
            await self._ask("PATCH", path, loose, headers={"Content-Type": PATCHES["merge"]})
        gone = {"gracePeriodSeconds": "0", "propagationPolicy": "Background"}
        _, left = await self._ask("DELETE", path, None, headers={}, **gone)
        if left.get("kind") == "Namespace":
            left["spec"] = {"finalizers": []}
            await self._ask("PUT", f"{path}/finalize", left, headers={})

    def _path(self, kind: str, obj: Json) -> str:
        said = objects()[kind]["apiVersion"]
        version = self._versions.get(kind, said)
        resource = registry.by_kind(said, kind)
        head = f"/apis/{version}" if "/" in version else f"/api/{version}"
        namespace = _metadata(obj).get("namespace") or "default"
        within = f"/namespaces/{namespace}" if resource.namespaced else ""
        return f"{head}{within}/{resource.plural}"

    def _there(self, body: Json) -> Json:
        version = self._versions.get(body.get("kind", ""))
        return {**body, "apiVersion": version} if version else body

    def _back(self, answer: Json, kind: str) -> Json:
        there = self._versions.get(kind)
        if not there or not isinstance(answer, dict):
            return answer
        return json.loads(json.dumps(answer).replace(there, objects()[kind]["apiVersion"]))


def _failure(answer: Json) -> Json:
    """What a Status says, once: its message repeats the causes."""
    causes = answer.get("details", {}).get("causes")
    said = {"reason": answer["reason"]} if "reason" in answer else {}
    if not causes:
        return {**said, "message": answer.get("message", "")}
    return {
        **said,
        "causes": [[c.get("field", ""), c.get("reason", ""), c["message"]] for c in causes],
    }


class _Mask:
    """Replaces what a server draws by itself, the same value by the same word within a case."""

    def __init__(self, steps: list[Json]) -> None:
        self._given = json.dumps(steps)
        self._words: dict[str, str] = {}

    def answer(self, code: int, answer: Json, *, managed: bool) -> Json:
        if not isinstance(answer, dict):
            return {"code": code, "message": str(answer)}
        if answer.get("kind") == "Status":
            return {"code": code, **self._masked(_failure(answer))}
        answer = copied(answer)
        self._learn(answer)
        metadata = answer.get("metadata", {})
        for name in _VOLATILE:
            if name != "managedFields" or not managed:
                metadata.pop(name, None)
        for entry in metadata.get("managedFields", ()):
            entry.pop("time", None)
        return {"code": code, "object": self._masked(answer)}

    def _learn(self, obj: Json) -> None:
        metadata, spec = obj.get("metadata", {}), obj.get("spec", {})
        self._word(metadata.get("uid"), "UID")
        if metadata.get("generateName"):
            self._word(metadata["name"], "NAME")
        if obj.get("kind") != "Service":
            return
        for address in (spec.get("clusterIP"), *spec.get("clusterIPs", ())):
            if address != "None":
                self._word(address, "IP6" if ":" in str(address) else "IP")
        for port in spec.get("ports", ()):
            self._word(port.get("nodePort"), "PORT")
        self._word(spec.get("healthCheckNodePort"), "PORT")

    def _word(self, value: Json, word: str) -> None:
        text = str(value or "")
        if (
            text
            and text not in self._words
            and not re.search(rf"\b{re.escape(text)}\b", self._given)
        ):
            number = sum(known.startswith(f"<{word}-") for known in self._words.values())
            self._words[text] = f"<{word}-{number + 1}>"

    def _masked(self, value: Json) -> Json:
        text = orjson.dumps(value).decode()
        drawn = any(word in text for word in self._words)
        return (
            self._replaced(value)
            if drawn or _TOKEN_VOLUME.search(text) or _TIME.search(text)
            else value
        )

    def _replaced(self, value: Json) -> Json:
        if isinstance(value, dict):
            return {self._replaced(k): self._replaced(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._replaced(item) for item in value]
        if isinstance(value, int) and not isinstance(value, bool):
            return self._words.get(str(value), value)
        if not isinstance(value, str):
            return value
        for text, word in self._words.items():
            if text in value:
                value = re.sub(rf"(?<![\w.:]){re.escape(text)}(?![\w:])", word, value)
        value = _TOKEN_VOLUME.sub("<TOKEN-VOLUME>", value)
        return _TIME.sub(lambda m: m[0] if m[0] in self._given else "<TIME>", value)
