"""Which mode a node's proxy works in, and how it goes from one to another.

The mode stands in ConfigMap kube-system/kube-proxy, as kubeadm has it: `data["config.conf"]` is a
KubeProxyConfiguration, its field `mode` counts. `data["config-NODE.conf"]`, if there, counts for that node instead.
"""

import asyncio
import logging

from netpod.api import codec
from netpod.api.core import ConfigMap
from netpod.errors import BadRequest, KernelError, Unsupported
from netpod.linux import sysctl
from netpod.proxy.config import Mode, ProxyConfig
from netpod.proxy.model import Model
from netpod.proxy.nftables_proxier import NftablesProxier
from netpod.proxy.proxier import IptablesProxier, Proxier

log = logging.getLogger(__name__)

NAMESPACE, NAME = "kube-system", "kube-proxy"
KEY = "config.conf"
API_VERSION, KIND = "kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration"
_ROUTE_LOCALNET = "net.ipv4.conf.all.route_localnet"


def node_key(node: str) -> str:
    """Key in the ConfigMap's data whose configuration counts for one node alone."""
    return f"config-{node}.conf"


def wanted(config: ConfigMap | None, node: str, default: Mode) -> Mode:
    """The mode a ConfigMap says for a node; `default` when there is no ConfigMap.

    Raises:
        BadRequest: it says something that is no mode.
    """
    if config is None:
        return default
    key = node_key(node) if node_key(node) in config.data else KEY
    text = config.data.get(key)
    if text is None:
        return default
    documents = codec.load_manifests(text)
    mode = documents[0].get("mode", "") if documents else ""
    try:
        # Upstream: "" is the platform's default, on Linux iptables.
        return Mode(mode or Mode.IPTABLES)
    except ValueError:
        known = ", ".join(Mode)
        raise BadRequest(
            f"cannot use configmap {NAMESPACE}/{NAME}: {key}: mode {mode!r} is not one of {known}"
        ) from None


def make(mode: Mode, config: ProxyConfig) -> Proxier:
    """A proxier that knows nothing yet."""
    return NftablesProxier(config) if mode is Mode.NFTABLES else IptablesProxier(config)


class Switch:
    """The proxier of the mode of now; on a change the new rules are in place before the old ones go.

    A connection keeps its way: conntrack decided it with its first packet, in whatever mode that was.
    """

    def __init__(self, config: ProxyConfig, proxier: Proxier | None = None) -> None:
        self._config = config
        self._mode = config.mode
        self._clean = False
        self.proxier = proxier or make(config.mode, config)

    @property
    def mode(self) -> Mode:
        """The mode of `proxier`."""
        return self._mode

    async def full_sync(self, mode: Mode, model: Model, *, zone: str = "") -> bool:
        """Read the kernel, correct it, and take away what other modes, or an earlier process, left there."""
        if mode != self._mode:
            log.info("switching from %s to %s", self._mode, mode)
            fresh = make(mode, self._config)
            await asyncio.to_thread(self._prepare, mode)
            done = await fresh.full_sync(model, zone=zone)
            self.proxier, self._mode, self._clean = fresh, mode, False
        else:
            if not self._clean:
                await asyncio.to_thread(self._prepare, mode)
            done = await self.proxier.full_sync(model, zone=zone)
        if not self._clean:
            for other in Mode:
                if other != mode:
                    await self._remove(other)
            self._clean = True
        return done

    async def _remove(self, mode: Mode) -> None:
        try:
            await make(mode, self._config).remove()
            if mode is Mode.IPTABLES:
                await asyncio.to_thread(sysctl.write, self._config.netns, _ROUTE_LOCALNET, 0)
        except Unsupported:
            return  # a program that is not there left nothing
        except KernelError as error:
            log.error("cannot remove the rules of %s mode: %s", mode, error)
            raise

    def _prepare(self, mode: Mode) -> None:
        if mode is Mode.IPTABLES and self._config.localhost_node_ports:
            # Else a packet from 127.0.0.1 to a node port is dropped as a martian once it was DNATed.
            sysctl.write(self._config.netns, _ROUTE_LOCALNET, 1)
