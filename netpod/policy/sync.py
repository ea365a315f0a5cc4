"""The policy agent's loop: follow NetworkPolicies, and as long as there are any, pods and namespaces too.

Changes that come while one is handed over share the next. The table an earlier agent left stands until everything was
listed, then it is replaced in one transaction. Without policies nothing but one watch is kept, and no table.
"""

import asyncio
import logging
from collections.abc import Sequence

from netpod.api.core import Namespace
from netpod.api.meta import key_of
from netpod.api.networkpolicy import NetworkPolicy
from netpod.api.pod import Pod
from netpod.client.informer import Informer
from netpod.client.rest import Client
from netpod.errors import KernelError, Unavailable
from netpod.ip import Family, address_of
from netpod.linux import nft, nftread, nftwire
from netpod.policy import model
from netpod.policy.compile import TABLE, table_of
from netpod.policy.config import PolicyConfig
from netpod.policy.index import Index

log = logging.getLogger(__name__)
_FIRST_RETRY = 0.25


async def run(client: Client, config: PolicyConfig) -> None:
    """Keep this node's isolation equal to what the API server says, until cancelled.

    Raises:
        Unsupported: nft is not installed.
    """
    await Policies(client, config).run()


class Policies:
    """One node's policies: `run` enforces them, `isolate` is what a pod waits for before its first container."""

    def __init__(self, client: Client, config: PolicyConfig) -> None:
        self._client = client
        self._config = config
        self._policies = Informer(client, NetworkPolicy)
        self._index = Index(config.node_name, config.family)
        self._addresses: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._some = asyncio.Event()
        self._full = True
        self._table = True
        self._listed = False
        self._waiting: list[asyncio.Future[None]] = []

    async def run(self) -> None:
        """Follow and enforce until cancelled."""
        self._policies.subscribe(self._policy_changed)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._policies.run(), name="policy informer")
            tasks.create_task(self._work(), name="policy sync")

    async def isolate(self, pod: Pod, pod_ips: Sequence[str]) -> None:
        """Wait until the policies that select a pod of this node hold for its addresses.

        Raises:
            Unavailable: they do not yet; no container may start.
        """
        if pod.spec.host_network:
            return
        try:
            async with asyncio.timeout(self._config.isolate_timeout):
                await self._policies.wait_synced()
                if not self._some.is_set():
                    return
                own = (it for it in pod_ips if address_of(it, self._config.family))
                self._addresses[pod.metadata.uid] = next(own, "")
                self._pod_changed(None, pod)
                done = asyncio.get_running_loop().create_future()
                self._waiting.append(done)
                self._wake.set()
                await done
        except TimeoutError as error:
            name = f"{pod.metadata.namespace}/{pod.metadata.name}"
            raise Unavailable(
                f"cannot isolate pod {name}: its rules are not in force yet"
            ) from error

    async def _work(self) -> None:
        await self._policies.wait_synced()
        while True:
            if not self._some.is_set():
                await self._remove()
                await self._some.wait()
            await self._enforce()

    async def _enforce(self) -> None:
        """Follow pods and namespaces and hand the table over, until no policy is left."""
        pods = Informer(self._client, Pod)
        namespaces = Informer(self._client, Namespace)
        namespaces.subscribe(self._namespace_changed)
        pods.subscribe(self._pod_changed)
        async with asyncio.TaskGroup() as tasks:
            following = [
                tasks.create_task(pods.run(), name="policy pods"),
                tasks.create_task(namespaces.run(), name="policy namespaces"),
            ]
            await namespaces.wait_synced()
            await pods.wait_synced()
            self._full = True
            self._listed = True
            try:
                await self._follow()
            finally:
                self._listed = False
                for task in following:
                    task.cancel()
        index = Index(self._config.node_name, self._config.family)
        for policy in self._policies.values():  # one that came meanwhile
            index.put_policy(key_of(policy), model.policy_of(policy))
        self._index = index
        self._addresses.clear()

    async def _follow(self) -> None:
        retry = _FIRST_RETRY
        loop = asyncio.get_running_loop()
        self._wake.set()
        while self._some.is_set():
            try:
                async with asyncio.timeout(self._config.sync_period):
                    await self._wake.wait()
            except TimeoutError:
                await self._look()
            await asyncio.sleep(0)  # what arrived in the same breath belongs to the same sync
            self._wake.clear()
            waiting, self._waiting = self._waiting, []
            try:
                await self._sync()
            except KernelError as error:
                if not error.retryable:
                    raise
                log.error("cannot sync policies: %s; retrying in %g s", error, retry)
                self._full = True
                self._waiting += waiting
                loop.call_later(retry, self._wake.set)
                retry = min(retry * 2, self._config.sync_period)
                await asyncio.sleep(min(retry, 1.0))
            else:
                retry = _FIRST_RETRY
                _release(waiting)

    async def _sync(self) -> None:
        table = self._index.table
        if table.empty:
            table.applied()
            await self._remove()
            return
        full, self._full = self._full or not self._table, True
        # Texts are made and changes forgotten in one breath: what comes while they are handed over is the next sync's.
        if full:
            texts = [table.everything()]
        else:
            texts = table.pending().texts
        table.applied()
        if texts:
            await asyncio.to_thread(hand_over, self._config.netns, texts)
        self._table = True
        self._full = False

    async def _look(self) -> None:
        """See whether somebody took the table away."""
        try:
            there = await asyncio.to_thread(
                nftread.exists, self._config.netns, TABLE, "forward", self._config.family
            )
        except KernelError as error:
            log.warning("cannot look at table %s: %s", TABLE, error)
            return
        if self._table and not there and not self._index.table.empty:
            log.warning("somebody removed our rules; writing all again")
            self._full = True

    async def _remove(self) -> None:
        """Have no table."""
        if self._table:
            try:
                await asyncio.to_thread(remove, self._config.netns, self._config.family)
            except KernelError as error:
                # A kernel without nftables has no table either; the first policy will say so.
                log.warning("cannot remove table %s: %s", TABLE, error)
            else:
                self._table = False
        waiting, self._waiting = self._waiting, []
        _release(waiting)

    def _policy_changed(self, old: NetworkPolicy | None, new: NetworkPolicy | None) -> None:
        either = new or old
        assert either is not None, "one of both is there"
        self._index.put_policy(key_of(either), None if new is None else model.policy_of(new))
        if self._index.policies:
            self._some.set()
        else:
            self._some.clear()
        self._wake.set()

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is None:
            assert old is not None, "one of both is there"
            self._addresses.pop(old.metadata.uid, None)
            facts = None
        else:
            facts = model.pod_of(
                new, self._addresses.get(new.metadata.uid, ""), self._config.family
            )
            if new.status.phase in model.ENDED:
                self._addresses.pop(new.metadata.uid, None)
        either = new or old
        assert either is not None, "one of both is there"
        self._index.put_pod(key_of(either), facts)
        if self._listed and self._index.table.changed:
            self._wake.set()

    def _namespace_changed(self, old: Namespace | None, new: Namespace | None) -> None:
        either = new or old
        assert either is not None, "one of both is there"
        labels = None if new is None else new.metadata.labels
        self._index.put_namespace(either.metadata.name, labels)
        if self._listed and self._index.table.changed:
            self._wake.set()


def hand_over(netns: str, texts: list[str]) -> None:
    """Transactions one after the other: straight to the kernel where that is possible, by nft where it is not."""
    for text in texts:
        try:
            if nftwire.apply(netns, text):
                continue
        except KernelError as error:
            log.debug("%s; nft may say why", error)
        nft.apply(netns, text, timeout=120)


def remove(netns: str, family: Family = Family.IPV4) -> None:
    """Delete the table of a family; absent is fine."""
    if nftread.exists(netns, TABLE, family=family):
        nft.apply(netns, f"delete table {table_of(family)}\n")


def _release(waiting: list["asyncio.Future[None]"]) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(None)
