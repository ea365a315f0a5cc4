"""`kubectl get componentstatuses`: whether scheduler, controller-manager and store do their work, asked anew each time.

Source: pkg/registry/core/componentstatus/rest.go, validator.go.
"""

from collections.abc import Awaitable, Callable, Mapping

import orjson

from netpod.api import meta
from netpod.api.meta import Json
from netpod.apiserver import reading, selection, storage
from netpod.apiserver.calls import Call, Reply
from netpod.store.store import KeyValue, Revision

COMPONENTS = ("controller-manager", "scheduler")
STORE = "etcd-0"
DEPRECATED = '299 - "v1 ComponentStatus is deprecated in v1.19+"'


class ComponentStatuses:
    """Asks what runs.

    Args:
        stored: Whether the store answers.
        running: Which components belong beside this server, and whether each runs.
    """

    def __init__(
        self, stored: Callable[[], Awaitable[bool]], running: Callable[[], Mapping[str, bool]]
    ) -> None:
        self._stored = stored
        self._running = running

    async def answer(self, call: Call, revision: Revision) -> Reply:
        """Answer a get or list.

        Raises:
            NotFound: no component has that name.
            BadRequest: a selector that does not parse.
            NotAcceptable: the client wants a form that is not served.
        """
        chosen = selection.of_call(call)
        running = self._running()
        found = [
            _status(name, running[name], "ok", "does not run")
            for name in COMPONENTS
            if name in running
        ]
        found.append(_status(STORE, await self._stored(), "ok", "does not answer"))
        found = [item for item in found if chosen.matches(_as_stored(item))]
        if call.route.verb == "get" and not found:
            raise storage.not_found(call.route.resource, call.route.name)
        reply = reading.computed(call, found, revision, meta.now())
        return Reply(body=reply.body, headers=(("Warning", DEPRECATED),))


def _status(name: str, healthy: bool, good: str, bad: str) -> dict[str, Json]:
    """One ComponentStatus without apiVersion and kind."""
    condition = {"type": "Healthy", "status": "True" if healthy else "False"}
    told = {"message": good} if healthy else {"message": bad, "error": bad}
    return {
        "metadata": {"name": name, "creationTimestamp": None},
        "conditions": [{**condition, **told}],
    }


def _as_stored(item: dict[str, Json]) -> KeyValue:
    """What a selection looks at."""
    return KeyValue(
        key=f"/{item['metadata']['name']}",
        value=orjson.dumps(item),
        create_revision=Revision(0),
        mod_revision=Revision(0),
    )
