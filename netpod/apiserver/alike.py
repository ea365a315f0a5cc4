"""Pods alike in all but their names: what was made of one request is not made again for the next.

A ReplicaSet of a thousand creates one pod a thousand times. Everything the server does to it, reading, defaults,
admission, validation and writing it down, follows from the body without the name and from what admission looks up.
So the text that was stored is kept in parts, and the next pod needs its own name, uid and time between them, as long
as nothing changed where admission looks things up. A body is known by its bytes: it need not even be parsed.
"""

import re
from typing import NamedTuple

import orjson

from netpod.api import registry, validate_names
from netpod.api.core import Namespace, ServiceAccount
from netpod.api.meta import ObjectMeta
from netpod.api.pod import Pod
from netpod.api.policy import LimitRange, PriorityClass, ResourceQuota
from netpod.api.storage import RuntimeClass
from netpod.apiserver import negotiation, objects
from netpod.apiserver.calls import Call
from netpod.apiserver.storage import Storage
from netpod.store.store import KeyValue, Revision

SIZE = 256
"""Bodies that are remembered; all are forgotten when there are more."""
LARGEST = 32 * 1024
"""Bytes of a body that is remembered: a few hundred of them must not fill the memory."""
SEEN = 4096
"""Bodies known to have come once. Only the second is worth remembering: most come once."""

PODS, QUOTAS = registry.of(Pod), registry.of(ResourceQuota)
ASKED = tuple(
    objects.prefix(registry.of(cls))
    for cls in (Namespace, LimitRange, ServiceAccount, PriorityClass, RuntimeClass, ResourceQuota)
)
"""Where admission of a pod looks things up."""

_NAME = re.compile(rb'"name"\s*:\s*"(%b)"' % validate_names.SUBDOMAIN.encode())
"""The first name in a body, if a pod may have it."""
_LONGEST = 253
_ANOTHER = "another"

Key = tuple[str, int, bytes]
"""Namespace, where the name was taken out or 0, and the body without it."""


class Made(NamedTuple):
    """What became of a body: the stored text around name, uid and time; `base` of names the server gives."""

    base: str
    before_name: bytes
    before_uid: bytes
    before_time: bytes
    end: bytes

    def text(self, name: str, uid: str, time: str) -> bytes:
        """What to store for another one."""
        return b"%b%b%b%b%b%b%b" % (
            self.before_name,
            name.encode(),
            self.before_uid,
            uid.encode(),
            self.before_time,
            time.encode(),
            self.end,
        )


class Alike:
    """Remembers for one server. Only pods are: no other kind comes in such numbers."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._since = Revision(0)
        self._checked = Revision(0)
        self._made: dict[Key, Made] = {}
        self._seen: set[int] = set()

    def find(self, call: Call) -> tuple[str, Made] | None:
        """The name of a request's pod, "" if it has none yet, and what became of one that was alike."""
        revision = self._storage.revision
        if revision != self._checked:
            if not self._storage.untouched(ASKED, self._since):
                self._made.clear()
                self._since = revision
            self._checked = revision
        if not self._made or not _concerns(call):
            return None
        name, key = _named(call)
        made = self._made.get(key)
        if made is not None:
            return name, made
        made = self._made.get(_whole(call))
        return ("", made) if made is not None else None

    async def remember(self, call: Call, given: ObjectMeta, since: Revision, kv: KeyValue) -> None:
        """Keep what became of a request that was answered without a warning.

        Args:
            call: The request.
            given: The metadata of its body.
            since: The store's revision before admission.
            kv: What was stored.
        """
        if not _concerns(call):
            return
        name, key = _named(call) if given.name else ("", _whole(call))
        if name != given.name:
            return
        seen = hash(key)
        if seen not in self._seen:
            if len(self._seen) >= SEEN:
                self._seen.clear()
            self._seen.add(seen)
            return
        if (await self._storage.list(QUOTAS, call.route.namespace, limit=1)).items:
            return  # how much is left differs each time
        if since < self._since or not self._storage.untouched(ASKED, since):
            return
        if given.name and not _is_the_pods(key):
            return
        made = _made(kv, "" if given.name else given.generate_name)
        if made is not None:
            if len(self._made) >= SIZE:
                self._made.clear()
            self._made[key] = made


def _concerns(call: Call) -> bool:
    return (
        call.route.resource is PODS
        and not call.query
        and call.content_type == negotiation.JSON
        and len(call.body) <= LARGEST
    )


def _whole(call: Call) -> Key:
    return call.route.namespace, 0, call.body


def _named(call: Call) -> tuple[str, Key]:
    """The first name in a body that a pod may have, and the body without it; "" and all of it if there is none."""
    body = call.body
    found = _NAME.search(body)
    if found is None:
        return "", _whole(call)
    start, end = found.span(1)
    if end - start > _LONGEST:
        return "", _whole(call)
    return found[1].decode(), (call.route.namespace, start, body[:start] + body[end:])


def _is_the_pods(key: Key) -> bool:
    """Whether the name that was taken out of a body is the pod's."""
    _, start, rest = key
    other = orjson.loads(rest[:start] + _ANOTHER.encode() + rest[start:])
    return bool(other["metadata"].get("name") == _ANOTHER)


def _made(kv: KeyValue, base: str) -> Made | None:
    metadata = orjson.loads(kv.value)["metadata"]
    if "managedFields" in metadata:
        return None  # they hold times of their own
    name, uid, time = (
        b'"%b":"%b"' % (field.encode(), metadata[field].encode())
        for field in ("name", "uid", "creationTimestamp")
    )
    # They come in this order, before anything in which a client could write the same.
    before_name, _, rest = kv.value.partition(name)
    before_uid, _, rest = rest.partition(uid)
    before_time, _, end = rest.partition(time)
    return Made(
        base=base,
        before_name=before_name + b'"name":"',
        before_uid=b'"' + before_uid + b'"uid":"',
        before_time=b'"' + before_time + b'"creationTimestamp":"',
        end=b'"' + end,
    )
