"""Random requests, made from our own OpenAPI: mostly nearly right, which reaches further than noise."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from netpod.api import registry
from netpod.apiserver import openapi
from tests.unit.apiserver import fuzz_words

Json = Any

DEPTH = 7
"""Deepest nesting of generated values; mutations and noise go further."""


@dataclass(frozen=True)
class Request:
    """One request as it is sent."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


class Fuzzer:
    """Makes requests; the same seed makes the same ones."""

    def __init__(self, seed: int, custom: tuple[tuple[str, str], ...] = ()) -> None:
        self._random = random.Random(seed)
        answer = openapi.answer("/openapi/v2", "application/json")
        assert answer is not None
        self._definitions = json.loads(answer.body)["definitions"]
        self._by_kind = {
            (kind["group"], kind["version"], kind["kind"]): schema
            for schema in self._definitions.values()
            for kind in schema.get("x-kubernetes-group-version-kind", ())
        }
        self._custom = custom

    def request(self) -> Request:
        """The next one."""
        pick = self._random
        resource = pick.choice(registry.RESOURCES)
        if pick.random() < 0.15:
            return self._sound(resource)
        method = pick.choice(fuzz_words.METHODS)
        path = self._path(resource, method)
        headers = {"Accept": pick.choice(fuzz_words.ACCEPT)} if pick.random() < 0.2 else {}
        body = None
        if method in ("POST", "PUT", "PATCH", "DELETE") and pick.random() < 0.95:
            body, media = self._body(resource, method, path)
            headers["Content-Type"] = media
        elif method == "GET" and pick.random() < 0.05:
            body = b"unwanted"
        query = self._query()
        if "watch" in query or "/watch/" in path:
            query["timeoutSeconds"] = "1"
        return Request(method, path, query, headers, body)

    def _sound(self, resource: registry.Resource) -> Request:
        """A creation of a plain object, so that other requests find something."""
        base = f"/apis/{resource.group}" if resource.group else "/api"
        base += f"/{resource.version}" + ("/namespaces/default" if resource.namespaced else "")
        made: dict[str, Json] = {"metadata": {"name": self._random.choice(fuzz_words.NAMES[:3])}}
        schema = self._by_kind.get((resource.group, resource.version, resource.kind), {})
        if self._random.random() < 0.3 and not resource.verbs:
            made = self._object(resource, schema, "/a")
        else:
            self._plausible(made, resource.kind)
        headers = {"Content-Type": "application/json"}
        return Request("POST", f"{base}/{resource.plural}", {}, headers, self._bytes(made))

    def _path(self, resource: registry.Resource, method: str) -> str:
        pick = self._random
        if pick.random() < 0.03:
            words = [
                quote(pick.choice(fuzz_words.WORDS).encode("utf-8", "replace"), safe="")
                for _ in range(pick.randrange(8))
            ]
            return (
                "/" + pick.choice(("api/", "apis/", "api/v1/", "openapi/v3/", "")) + "/".join(words)
            )
        base = (
            f"/apis/{resource.group}/{resource.version}"
            if resource.group
            else f"/api/{resource.version}"
        )
        if self._custom and pick.random() < 0.05:
            base, plural = pick.choice(self._custom)
            namespaced = True
        else:
            plural, namespaced = resource.plural, resource.namespaced
        if pick.random() < 0.02:
            base += "/watch"
        if namespaced and pick.random() < (0.97 if method != "GET" else 0.7):
            base += "/namespaces/" + (
                pick.choice(fuzz_words.NAMES[:6]) if pick.random() < 0.1 else "default"
            )
        path = f"{base}/{plural}"
        if method != "POST" or (resource.subresources and pick.random() < 0.1):
            if pick.random() < {"GET": 0.7, "DELETE": 0.95}.get(method, 0.99):
                name = (
                    pick.choice(fuzz_words.NAMES[:3])
                    if pick.random() < 0.97
                    else pick.choice(fuzz_words.NAMES)
                )
                path += "/" + quote(name, safe="%")
                if resource.subresources and pick.random() < 0.25:
                    path += "/" + pick.choice(resource.subresources)
                    if path.endswith("/proxy"):
                        path += pick.choice(("", "/", "/x", "/%2e%2e/x"))
        return path

    def _query(self) -> dict[str, str]:
        pick = self._random
        if pick.random() < 0.6:
            return {}
        names = pick.sample(sorted(fuzz_words.QUERY), pick.randint(1, 3))
        found = {name: pick.choice(fuzz_words.QUERY[name]) for name in names}
        if pick.random() < 0.1:
            found |= {"watch": pick.choice(("true", "1", "x"))}
        return found

    def _body(self, resource: registry.Resource, method: str, path: str) -> tuple[bytes, str]:
        pick = self._random
        schema = self._by_kind.get((resource.group, resource.version, resource.kind), {})
        value = self._object(resource, schema, path)
        media = (
            pick.choice(fuzz_words.MEDIA[:2])
            if pick.random() < 0.95
            else pick.choice(fuzz_words.MEDIA)
        )
        if method == "DELETE":
            value = self._delete_options()
        if method == "PATCH":
            media = (
                pick.choice(fuzz_words.MEDIA[2:6])
                if pick.random() < 0.95
                else pick.choice(fuzz_words.MEDIA)
            )
            if media == fuzz_words.MEDIA[3]:
                value = self._json_patch(value)
            elif media != fuzz_words.MEDIA[5] and pick.random() < 0.7 and isinstance(value, dict):
                value = self._part(value)
                if media == fuzz_words.MEDIA[4] and pick.random() < 0.4:
                    self._direct(value)
        for _ in range(pick.choice((0, 0, 0, 1, 1, 2, 5))):
            value = self._mutated(value)
        return self._bytes(value), media

    def _bytes(self, value: Json) -> bytes:
        pick = self._random
        text = json.dumps(value, ensure_ascii=pick.random() < 0.9).encode("utf-8", "surrogatepass")
        chance = pick.random()
        if chance < 0.02:
            return text[: pick.randrange(len(text) + 1)]
        if chance < 0.03:
            return b"[" * 5000 + b"]" * 5000
        if chance < 0.04:
            return b'{"a":' * 2000 + b"1" + b"}" * 2000
        if chance < 0.05:
            return pick.randbytes(50)
        if chance < 0.06:
            return b"a: &a [x]\nb: *a\n? [1, 2]\n: 3\n"
        if chance < 0.07:
            return b'{"metadata":{"name":NaN,"x":' + b"9" * 5000 + b"}}"
        if chance < 0.08:
            return b"a: &a [l,l]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b]\n"
        return text

    def _object(self, resource: registry.Resource, schema: Json, path: str) -> Json:
        made = self._value(schema, 0, whole=True) if schema else {}
        if not isinstance(made, dict):
            made = {}
        made["apiVersion"], made["kind"] = resource.api_version, resource.kind
        name = (
            path.rpartition("/")[2]
            if self._random.random() < 0.5
            else self._random.choice(fuzz_words.NAMES[:3])
        )
        meta = made.get("metadata")
        kept = meta if isinstance(meta, dict) and self._random.random() < 0.3 else {}
        for unwanted in () if self._random.random() < 0.2 else fuzz_words.DIFFICULT:
            kept.pop(unwanted, None)
        made["metadata"] = {**kept, "name": name}
        self._plausible(made, resource.kind)
        return made

    def _plausible(self, made: dict[str, Json], kind: str) -> None:
        """Give the kinds with many required fields a chance to be valid."""
        pick = self._random
        if pick.random() < 0.1:
            return
        spec = (
            made.get("spec") if pick.random() < 0.3 and isinstance(made.get("spec"), dict) else {}
        )
        basic = fuzz_words.specs(pick)
        if kind in basic:
            made["spec"] = {**(spec or {}), **basic[kind]}

    def _value(self, schema: Json, depth: int, whole: bool = False) -> Json:
        pick = self._random
        if "$ref" in schema:
            schema = self._definitions.get(schema["$ref"].rpartition("/")[2], {})
        kind = schema.get("type", "")
        if kind == "array":
            return (
                [
                    self._value(schema.get("items", {}), depth + 1)
                    for _ in range(pick.choice((0, 1, 1, 2)))
                ]
                if depth < DEPTH
                else []
            )
        if "properties" in schema:
            if depth > DEPTH:
                return {}
            chance = 0.6 if whole else 0.3
            return {
                name: self._value(item, depth + 1)
                for name, item in schema["properties"].items()
                if pick.random() < chance
            }
        if kind == "object":
            return (
                {
                    pick.choice(fuzz_words.WORDS): self._value(
                        schema.get("additionalProperties") or {}, depth + 1
                    )
                }
                if depth < DEPTH
                else {}
            )
        if kind in ("integer", "number"):
            return pick.choice(fuzz_words.NUMBERS[:9])
        if kind == "boolean":
            return pick.random() < 0.5
        if kind == "string":
            return pick.choice(fuzz_words.WORDS)
        return self._noise(depth)

    def _noise(self, depth: int = 0) -> Json:
        pick = self._random
        kind = pick.randrange(7 if depth < 4 else 5)
        if kind == 5:
            return [self._noise(depth + 1) for _ in range(pick.randrange(3))]
        if kind == 6:
            return {
                pick.choice(fuzz_words.WORDS): self._noise(depth + 1)
                for _ in range(pick.randrange(3))
            }
        return (
            None,
            True,
            pick.choice(fuzz_words.NUMBERS),
            pick.choice(fuzz_words.WORDS),
            pick.choice(fuzz_words.NUMBERS),
        )[kind]

    def _mutated(self, value: Json) -> Json:
        """One place changed to something else."""
        pick = self._random
        if isinstance(value, dict) and value and pick.random() < 0.93:
            name = pick.choice(sorted(value))
            chance = pick.random()
            if chance < 0.08:
                return {k: v for k, v in value.items() if k != name}
            if chance < 0.12:
                return {**value, pick.choice(fuzz_words.WORDS): self._noise()}
            return {**value, name: self._mutated(value[name])}
        if isinstance(value, list) and value and pick.random() < 0.9:
            at = pick.randrange(len(value))
            if pick.random() < 0.1:
                return [*value, value[at]]
            return [*value[:at], self._mutated(value[at]), *value[at + 1 :]]
        return self._noise()

    def _part(self, value: dict[str, Json]) -> dict[str, Json]:
        return {k: v for k, v in value.items() if self._random.random() < 0.6}

    def _direct(self, value: Json) -> None:
        """Add directives of strategic merge patches somewhere."""
        pick = self._random
        if isinstance(value, list):
            for item in value:
                self._direct(item)
            if pick.random() < 0.3:
                value.append({"$patch": pick.choice(fuzz_words.WORDS[-14:])})
        if isinstance(value, dict):
            for item in list(value.values()):
                self._direct(item)
            if pick.random() < 0.2 and value:
                name = pick.choice(sorted(value))
                directive = pick.choice(
                    (
                        "$patch",
                        "$retainKeys",
                        f"$setElementOrder/{name}",
                        f"$deleteFromPrimitiveList/{name}",
                    )
                )
                value[directive] = pick.choice(
                    ("replace", "merge", "delete", [name], self._noise())
                )

    def _json_patch(self, value: Json) -> Json:
        pick = self._random
        if pick.random() < 0.05:
            return value
        found = []
        for _ in range(pick.randrange(5)):
            operation: dict[str, Json] = {
                "op": pick.choice(fuzz_words.OPERATIONS),
                "path": pick.choice(fuzz_words.POINTERS),
            }
            if pick.random() < 0.8:
                operation["value"] = self._noise()
            if pick.random() < 0.4:
                operation["from"] = pick.choice(fuzz_words.POINTERS)
            found.append(operation)
        return found

    def _delete_options(self) -> Json:
        pick = self._random
        made: dict[str, Json] = {"kind": "DeleteOptions", "apiVersion": "v1"}
        for name, sensible in fuzz_words.DELETE_OPTIONS.items():
            if pick.random() < 0.3:
                made[name] = sensible if pick.random() < 0.5 else self._noise()
        return made
