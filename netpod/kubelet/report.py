"""Writes a pod's status: seldom, and never twice the same.

A pod on its way up changes several times within milliseconds. What is not settled is held back a moment, so that most
pods need one write from bound to Ready. Source: the idea is kubernetes pkg/kubelet/status/status_manager.go.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from netpod.api import codec
from netpod.api.meta import key_of
from netpod.api.pod import Pod
from netpod.api.pod_status import PodStatus
from netpod.client.rest import Client
from netpod.errors import ApiError, NotFound

log = logging.getLogger(__name__)
HOLD_SECONDS = 0.5
RETRY_SECONDS = 1.0
_SEEN = {"observedGeneration"}


class Reporter:
    """Keeps the API server's idea of one pod's status up to date.

    Args:
        client: Who writes.
        pod: As last seen.
        compile: Returns the status the pod should have, given the one it has.
    """

    def __init__(self, client: Client, pod: Pod, compile: Callable[[Pod], PodStatus]) -> None:
        self._client = client
        self._pod = pod
        self._compile = compile
        self._dirty = asyncio.Event()
        self._settled = asyncio.Event()

    def update(self, pod: Pod) -> None:
        """The API server has another version; an older one than we wrote ourselves says nothing."""
        if _version(pod) > _version(self._pod) or pod.metadata.uid != self._pod.metadata.uid:
            self._pod = pod

    def poke(self, *, settled: bool) -> None:
        """The status may have changed; `settled` when it will not change again at once."""
        self._dirty.set()
        if settled:
            self._settled.set()
        else:
            self._settled.clear()

    async def run(self) -> None:
        """Write what changes until cancelled."""
        while True:
            await self._dirty.wait()
            try:
                async with asyncio.timeout(HOLD_SECONDS):
                    await self._settled.wait()
            except TimeoutError:
                pass
            self._dirty.clear()
            try:
                await self.write()
            except ApiError as error:
                log.debug("cannot write status of pod %s: %s", key_of(self._pod), error)
                self._dirty.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def write(self) -> None:
        """Write the status now unless the API server has it already; a pod that is gone is fine."""
        pod = self._pod
        change = difference(codec.encode(pod.status), codec.encode(self._compile(pod)))
        # That a pod was seen to end is told with how it ended.
        if not change or (pod.metadata.deletion_timestamp and change.keys() == _SEEN):
            return
        key = pod.metadata
        patch = {"metadata": {"uid": key.uid}, "status": change}
        try:
            self.update(
                await self._client.patch(Pod, key.name, key.namespace, patch, subresource="status")
            )
        except NotFound:
            return


def difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the merge patch of the top level: what is new or other, and null for what is gone. Source: RFC 7386."""
    changed = {name: value for name, value in new.items() if old.get(name) != value}
    return changed | {name: None for name in old if name not in new}


def _version(pod: Pod) -> int:
    text = pod.metadata.resource_version
    return int(text) if text.isdigit() else 0
