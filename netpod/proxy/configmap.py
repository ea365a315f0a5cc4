"""Which mode a node's proxy works in, with which settings of IPVS, as ConfigMap kube-system/kube-proxy says (pure).

As kubeadm has it: `data["config.conf"]` is a KubeProxyConfiguration, its fields `mode`, `ipvs` and `metricsBindAddress`
count. netpod's own addition: `data["config-NODE.conf"]`, if there, counts for that node instead.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import yaml

from netpod.api import codec
from netpod.api.core import ConfigMap
from netpod.errors import BadRequest, UsageError
from netpod.proxy import ipvs_config
from netpod.proxy.config import Mode
from netpod.proxy.ipvs_config import IpvsConfig

NAMESPACE, NAME = "kube-system", "kube-proxy"
KEY = "config.conf"
LOOPBACK = "127.0.0.1"
API_VERSION, KIND = "kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration"


def node_key(node: str) -> str:
    """Key in the ConfigMap's data whose configuration counts for one node alone."""
    return f"config-{node}.conf"


def wanted(config: ConfigMap | None, node: str, default: Mode) -> Mode:
    """The mode a ConfigMap says for a node; `default` when there is no ConfigMap.

    Raises:
        BadRequest: it says something that is no mode.
    """
    document = _document(config, node)
    if document is None:
        return default
    mode = document.get("mode", "")
    try:
        # Upstream: "" is the platform's default, on Linux iptables.
        return Mode(mode or Mode.IPTABLES)
    except ValueError:
        known = ", ".join(Mode)
        raise BadRequest(
            f"cannot use configmap {NAMESPACE}/{NAME}: mode {mode!r} is not one of {known}"
        ) from None


def ipvs(config: ConfigMap | None, node: str, default: IpvsConfig) -> IpvsConfig:
    """The settings of IPVS mode a ConfigMap says for a node; `default` for fields it does not name.

    Raises:
        BadRequest: a field says something that cannot be.
    """
    section = (_document(config, node) or {}).get("ipvs") or {}
    try:
        return ipvs_config.parse(section, default)
    except UsageError as error:
        raise BadRequest(f"cannot use configmap {NAMESPACE}/{NAME}: {error}") from error


def metrics_address(config: ConfigMap | None, node: str, port: int) -> tuple[str, int]:
    """Where a node's proxy answers /metrics: an address and a port, 127.0.0.1 and `port` by default.

    Raises:
        BadRequest: `metricsBindAddress` is no IP address, with or without a port.
    """
    text = str((_document(config, node) or {}).get("metricsBindAddress") or LOOPBACK)
    # An IPv6 address has brackets when a port follows.
    host, number = text, ""
    if text.startswith("[") or text.count(":") == 1:
        host, _, number = text.rpartition(":")
    try:
        address = ip_address(host.strip("[]"))
        found = int(number or port)
        if not 0 < found < 65536:
            raise ValueError(f"port {found}")
    except ValueError as error:
        raise BadRequest(
            f"cannot use configmap {NAMESPACE}/{NAME}: metricsBindAddress {text!r}: write ADDRESS or ADDRESS:PORT"
        ) from error
    return str(address), found


def _document(config: ConfigMap | None, node: str) -> Mapping[str, Any] | None:
    """The KubeProxyConfiguration that counts for a node, if there is one."""
    data = config.data if config is not None else {}
    text = data.get(node_key(node), data.get(KEY))
    if text is None:
        return None
    documents = codec.load_manifests(text)
    return documents[0] if documents else {}


def configuration(mode: Mode, **more: Any) -> str:
    """Text of a KubeProxyConfiguration with this mode and further fields."""
    fields = {"apiVersion": API_VERSION, "kind": KIND, "mode": str(mode), **more}
    return yaml.safe_dump(fields, sort_keys=False)


def changed(data: Mapping[str, str], mode: Mode, node: str = "") -> dict[str, str | None]:
    """Merge patch of a ConfigMap's data that gives one node, or all of them, this mode.

    The choice for all takes every node's own configuration away, or the word would not be kept.
    """
    if node:
        own = data.get(node_key(node), data.get(KEY, ""))
        return {node_key(node): _with_mode(own, mode)}
    patch: dict[str, str | None] = {key: None for key in data if _is_node_key(key)}
    patch[KEY] = _with_mode(data.get(KEY, ""), mode)
    return patch


def _is_node_key(key: str) -> bool:
    return key.startswith("config-") and key.endswith(".conf")


def _with_mode(text: str, mode: Mode) -> str:
    documents = codec.load_manifests(text) if text else []
    kept = {k: v for k, v in (documents[0] if documents else {}).items() if k != "mode"}
    kept.pop("apiVersion", None)
    kept.pop("kind", None)
    return configuration(mode, **kept)
