"""The proxy's loop: follow Services and EndpointSlices, sync the kernel at once but never too often.

The first change of a quiet time is in the kernel as fast as a program can be run; changes that come while a sync
runs share the next one. Nothing is written before both kinds were listed, so a restart never tears rules down. The
kernel is read on a full sync: at start, after a failure, when a canary chain is gone, when the node's zone changed,
and hourly.

Source: kubernetes pkg/proxy/iptables/proxier.go, pkg/proxy/runner.
"""

import asyncio
import dataclasses
import logging
from errno import ENOENT

from netpod.api.core import ConfigMap
from netpod.api.discovery import EndpointSlice
from netpod.api.node import Node
from netpod.api.service import Service
from netpod.client.events import EventRecorder
from netpod.client.informer import Informers
from netpod.client.rest import Client
from netpod.errors import BadRequest, KernelError, Unsupported
from netpod.linux import sysctl
from netpod.proxy import configmap, conntrack, exposition, healthcheck
from netpod.proxy.changes import ChangeTracker
from netpod.proxy.config import Mode, ProxyConfig
from netpod.proxy.healthcheck import HealthServers
from netpod.proxy.metrics import Metrics
from netpod.proxy.model import ServicePortName
from netpod.proxy.modes import Switch
from netpod.proxy.proxier import IptablesProxier, Proxier

log = logging.getLogger(__name__)

LABEL_ZONE = "topology.kubernetes.io/zone"
TAINT_TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"
SERVICES = "!service.kubernetes.io/service-proxy-name"
SLICES = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name"
TIMEOUTS = {
    "net.netfilter.nf_conntrack_tcp_timeout_established": 86400,
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait": 3600,
}
_LONGEST_PAUSE = 1.0
_FIRST_RETRY = 0.25
_AT_ONCE = 100
"""Services brought up to date before the rest of the process has a turn: two milliseconds' work."""


async def run(client: Client, config: ProxyConfig) -> None:
    """Keep this node's rules equal to what the API server says, until cancelled.

    Raises:
        Unsupported: iptables is not installed, or this kernel cannot do it.
    """
    config = await asyncio.to_thread(prepare, config)
    informers = Informers(client)
    first = Sync(client, config, informers=informers)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(informers.run(), name="proxy informers")
        tasks.create_task(first.run(), name="proxy")
        if config.secondary is not None:
            second = Sync(
                client, dataclasses.replace(config.secondary, metrics_port=0), informers=informers
            )
            first.beside.append(second)
            second.beside.append(first)
            tasks.create_task(second.run(), name=f"proxy {config.secondary.family}")


def prepare(config: ProxyConfig) -> ProxyConfig:
    """Set the sysctls a proxy needs in its network namespace; return the config with what was found there.

    nf_conntrack_max is the machine's, not a namespace's, and is left alone.
    """
    try:
        sysctl.write_all(config.netns, TIMEOUTS)
        liberal = sysctl.read(config.netns, "net.netfilter.nf_conntrack_tcp_be_liberal")
    except KernelError as error:
        if error.errno != ENOENT:
            raise
        log.warning("cannot tune connection tracking, its module is not loaded yet: %s", error)
        return config
    second = config.secondary
    if second is not None:
        second = dataclasses.replace(second, conntrack_tcp_be_liberal=liberal != "0")
    return dataclasses.replace(config, conntrack_tcp_be_liberal=liberal != "0", secondary=second)


class Sync:
    """When to sync, and what follows a sync: stale UDP flows, health check answers; of one address family.

    A node with both has two of them, which sync without each other and answer for each other.
    Source: kubernetes pkg/proxy/metaproxier.

    Args:
        client: To the API server.
        config: Of this family.
        proxier: Of `config.mode`; None makes one.
        informers: Run by somebody else; None makes and runs some.

    Attributes:
        metrics: What it counted.
        beside: The other family's; one kube-proxy has one health and one /metrics.
    """

    def __init__(
        self,
        client: Client,
        config: ProxyConfig,
        proxier: Proxier | None = None,
        informers: Informers | None = None,
    ) -> None:
        self._config = config
        self._switch = Switch(config, proxier)
        self._mode = config.mode
        self._ipvs = config.ipvs
        self._metrics_at = (configmap.LOOPBACK, config.metrics_port or 1)
        self._moved = asyncio.Event()
        self._tracker = ChangeTracker(config.node_name, config.family)
        self._runs_informers = informers is None
        self._informers = informers or Informers(client)
        self._services = self._informers.of(Service, label_selector=SERVICES)
        self._slices = self._informers.of(EndpointSlice, label_selector=SLICES)
        self._nodes = self._informers.of(Node, field_selector=f"metadata.name={config.node_name}")
        self._config_maps = self._informers.of(
            ConfigMap,
            namespace=configmap.NAMESPACE,
            field_selector=f"metadata.name={configmap.NAME}",
        )
        self._conntrack = conntrack.Reconciler(config)
        self._wake = asyncio.Event()
        self._full = True
        self._last_full = 0.0
        self._zone = ""
        self._eligible = True
        self._behind_since = 0.0
        self._node: Node | None = None
        self._events = EventRecorder(client, "kube-proxy", config.node_name)
        self.metrics = Metrics(family=config.family)
        self.beside: list[Sync] = []
        self._health = HealthServers(
            config.netns,
            lambda: all(sync.keeps_up() for sync in (self, *self.beside)),
            lambda: self._eligible,
            self.metrics,
            config.family,
        )

    async def run(self) -> None:
        """Follow and sync until cancelled."""
        self._services.subscribe(self._service_changed)
        self._slices.subscribe(self._slice_changed)
        self._nodes.subscribe(self._node_changed)
        self._config_maps.subscribe(self._config_changed)
        try:
            async with asyncio.TaskGroup() as tasks:
                if self._runs_informers:
                    tasks.create_task(self._informers.run(), name="proxy informers")
                tasks.create_task(self._follow(), name="proxy sync")
                tasks.create_task(self._look_at_canary(), name="proxy canary")
                tasks.create_task(self._events.run(), name="proxy events")
                if self._config.healthz_port:
                    serve = self._health.serve_healthz(self._config.healthz_port)
                    tasks.create_task(serve, name="proxy healthz")
                if self._config.metrics_port:
                    tasks.create_task(self._tell(), name="proxy metrics")
        finally:
            await self._health.close()

    async def _tell(self) -> None:
        """Answer /metrics where the ConfigMap says, for ever."""
        while True:
            self._moved.clear()
            async with asyncio.TaskGroup() as tasks:
                told = tasks.create_task(
                    self._health.serve_metrics(
                        *self._metrics_at, lambda: str(self._switch.mode), self._text
                    )
                )
                await self._moved.wait()
                told.cancel()

    async def _follow(self) -> None:
        await self._informers.wait_synced()
        loop = asyncio.get_running_loop()
        retry = _FIRST_RETRY
        self._behind_since = loop.time()
        self._wake.set()
        while True:
            await self._wake.wait()
            await asyncio.sleep(0)  # what arrived in the same breath belongs to the same sync
            self._wake.clear()
            start = loop.time()
            full = self._full
            try:
                await self._sync(full)
            except KernelError as error:
                self._failed(full)
                if not error.retryable and not self._stay(error):
                    raise
                log.error("cannot sync rules: %s; retrying in %g s", error, retry)
                self._full = True
                loop.call_later(retry, self._wake.set)
                retry = min(retry * 2, self._config.sync_period)
            else:
                retry = _FIRST_RETRY
                self._last_full = start if full else self._last_full
                self._behind_since = loop.time() if self._tracker.dirty else 0.0
            # At least half of the time is left to the rest of the node.
            spent = loop.time() - start
            await asyncio.sleep(max(self._config.min_sync_period, min(spent, _LONGEST_PAUSE)))

    async def _sync(self, full: bool) -> None:
        self._full = False
        changed = await self._take()
        model = self._tracker.model
        start = asyncio.get_running_loop().time()
        try:
            if full:
                await self._switch.full_sync(self._mode, model, zone=self._zone, ipvs=self._ipvs)
            elif changed:
                await self._switch.proxier.sync(model, changed, zone=self._zone)
            wait = await self._switch.tidy()
            if wait:
                asyncio.get_running_loop().call_later(wait, self._wake.set)
            if not full and not changed:
                return
        except BaseException:
            self._full = True  # the kernel's state is not known any more
            raise
        self.metrics.synced(asyncio.get_running_loop().time() - start, full=full)
        await self._health.update(healthcheck.observe(model))
        if full or any(name.protocol == "UDP" for name in changed):
            await asyncio.to_thread(self._conntrack.reconcile, conntrack.frontends(model))

    async def _take(self) -> set[ServicePortName]:
        """What changed, a little at a time: others of this process have their turns between."""
        changed = set(self._tracker.take(_AT_ONCE))
        while self._tracker.dirty:
            await asyncio.sleep(0)
            changed |= self._tracker.take(_AT_ONCE)
        return changed

    def _stay(self, error: KernelError) -> bool:
        """Go on in the mode of now when this machine cannot do the one that was asked for."""
        wanted = (self._mode, self._ipvs)
        if wanted == (self._switch.mode, self._switch.ipvs) or not isinstance(error, Unsupported):
            return False
        self._say(f"cannot use {self._mode} mode: {error}; staying in {self._switch.mode} mode")
        self._mode, self._ipvs = self._switch.mode, self._switch.ipvs
        return True

    def _failed(self, full: bool) -> None:
        if self._mode is Mode.NFTABLES:
            self.metrics.failed("nftables_sync")
        elif self._mode is Mode.IPTABLES:
            self.metrics.failed("iptables_restore" if full else "iptables_partial_restore")

    def _say(self, message: str) -> None:
        """Tell people what is wrong with this proxy, as an event of its node."""
        if self._node is not None:
            self._events.event(self._node, "Warning", "ProxyModeRefused", message)

    def _text(self) -> bytes:
        shares = []
        for sync in (self, *self.beside):
            proxier = sync._switch.proxier
            written = proxier.written() if isinstance(proxier, IptablesProxier) else {}
            shares.append(
                exposition.Share(counted=sync.metrics, model=sync._tracker.model, written=written)
            )
        return exposition.text(shares)

    async def _look_at_canary(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._config.sync_period)
            if self._full:
                continue  # it is looked at anyway
            try:
                if not await self._switch.proxier.intact():
                    log.warning("somebody flushed our rules; writing all again")
                    self._full = True
            except KernelError as error:
                log.warning("cannot look at canary chains: %s", error)
            if loop.time() - self._last_full > self._config.full_sync_period:
                self._full = True
            if self._full:
                self._changed()

    def _service_changed(self, old: Service | None, new: Service | None) -> None:
        self._tracker.service_changed(old, new)
        self.metrics.service_changed()
        self._changed()

    def _slice_changed(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        self._tracker.slice_changed(old, new)
        self.metrics.slice_changed(new)
        self._changed()

    def _node_changed(self, _old: Node | None, new: Node | None) -> None:
        self._node = new
        if new is None:
            return
        taints = {taint.key for taint in new.spec.taints}
        gone = bool(new.metadata.deletion_timestamp) or TAINT_TO_BE_DELETED in taints
        self._eligible = not gone
        zone = new.metadata.labels.get(LABEL_ZONE, "")
        if zone != self._zone:
            self._zone = zone
            self._full = True
            self._changed()

    def _config_changed(self, _old: ConfigMap | None, new: ConfigMap | None) -> None:
        try:
            mode = configmap.wanted(new, self._config.node_name, self._config.mode)
            ipvs = configmap.ipvs(new, self._config.node_name, self._config.ipvs)
            at = configmap.metrics_address(
                new, self._config.node_name, self._config.metrics_port or 1
            )
        except BadRequest as error:
            log.error("%s; staying in %s mode", error, self._mode)
            self._say(f"{error}; staying in {self._mode} mode")
            return
        if at != self._metrics_at:
            self._metrics_at = at
            self._moved.set()
        if (mode, ipvs) != (self._mode, self._ipvs):
            self._mode, self._ipvs = mode, ipvs
            self._full = True
            self._changed()

    def _changed(self) -> None:
        if not self._services.synced or not self._slices.synced:
            return  # the first sync comes when everything was listed
        if not self._behind_since:
            self._behind_since = asyncio.get_running_loop().time()
        self._wake.set()

    def keeps_up(self) -> bool:
        """Whether no change has waited for longer than two sync periods."""
        if not self._behind_since:
            return True
        waited = asyncio.get_running_loop().time() - self._behind_since
        return waited < 2 * self._config.sync_period
