"""Where the time of a create goes: `python -m benchmarks.apiprofile`, microseconds of CPU by step.

The steps run alone and warm, one after the other, without HTTP, disk and other clients, so their sum is less than what
a request takes in a server; what is left is the library's part, the store's two threads, and cold caches.
"""

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import orjson

from benchmarks import api
from netpod.api import codec, defaults, validation, yamltext
from netpod.apiserver import (
    admission,
    calls,
    handlers,
    managed,
    negotiation,
    objects,
    routes,
)
from netpod.apiserver.authentication import TRUSTED
from netpod.apiserver.calls import Call
from netpod.apiserver.server import ApiServer, ApiServerConfig
from netpod.store.sqlite import SqliteStore
from netpod.store.store import KeyValue, Revision

ROUNDS, TIMES = 25, 300


def least(step: Callable[[], object]) -> float:
    """Microseconds of one call, in the best of the rounds."""
    found = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        for _ in range(TIMES):
            step()
        found.append((time.thread_time() - start) / TIMES * 1e6)
    return min(found)


def finished(work: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that never has to wait."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("reading a store in memory does not wait")


def steps(server: ApiServer) -> None:
    """Time each step, feeding it with what the one before made."""
    writer, storage = server.writer, server.writer.storage
    body = api.pod("bench")
    number = 0

    def another() -> bytes:
        nonlocal number
        number += 1
        return body.replace(b"production", b"%d" % number)

    route = routes.parse("POST", api.PODS, {})
    call = Call(route=route, user=TRUSTED, body=body, content_type="application/json")
    resource = route.resource

    def told(name: str, step: Callable[[], object]) -> None:
        print(f"{name:44} {least(step):7.2f}")

    told("route", lambda: routes.parse("POST", api.PODS, {}))
    told("body: JSON, depth", lambda: negotiation.body(body, call.content_type))
    told("  of it JSON", lambda: orjson.loads(body))
    data = orjson.loads(body)
    told("  of it depth", lambda: yamltext.check_depth(data, body))
    told("decode, spec known", lambda: handlers.decode(call, dict(data), resource))
    told("decode, spec new", lambda: codec.decode(resource.cls, orjson.loads(another())))
    obj = handlers.decode(call, dict(data), resource)
    told("unknown fields", lambda: codec.unknown_fields(obj))
    told("managed fields", lambda: managed.created(call, obj))
    told("identity: name, uid, time", lambda: writer._identify(obj, resource))
    named = writer._identify(obj, resource)
    told("admission", lambda: finished(admission.admit_create(storage, resource, named)))
    told("  of it defaults", lambda: defaults.apply_defaults(named))
    made = defaults.apply_defaults(named)
    for mutate in admission.ON_CREATE["Pod"]:
        step = f"{mutate.__module__.rpartition('.')[2]}.{mutate.__name__}"
        told(f"  of it {step}", lambda m=mutate, o=made: finished(m(storage, o)))
        made = finished(mutate(storage, made))
    told("  of it validation", lambda: validation.validate_create(made))
    told("quotas", lambda: finished(writer._quotas.concern(resource, made)))
    told("encode", lambda: objects.pack(resource, made))
    told("encode, spec new", lambda: codec.encode(made))
    kv = KeyValue("/registry/pods/default/bench", objects.pack(resource, made), *[Revision(9)] * 2)
    told("answer", lambda: handlers.answer(route, kv, status=201))

    def whole(text: bytes) -> None:
        found = negotiation.body(text, call.content_type)
        decoded = handlers.decode(call, found, resource)
        calls.warnings(call, codec.unknown_fields(decoded))
        new = writer._identify(managed.created(call, decoded), resource)
        new = finished(admission.admit_create(storage, resource, new))
        finished(writer._quotas.concern(resource, new))
        handlers.answer(route, kv._replace(value=objects.pack(resource, new)), status=201)

    told("all of these, spec known", lambda: whole(body))
    told("all of these, spec new", lambda: whole(another()))


async def main() -> None:
    """Start a server for what admission asks, and time."""
    with tempfile.TemporaryDirectory() as folder:
        store = await SqliteStore.open(Path(folder) / "store.db")
        server = ApiServer(store, ApiServerConfig())
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve([], ready))
            await ready.wait()
            steps(server)
            serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        await store.close()


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    asyncio.run(main())
