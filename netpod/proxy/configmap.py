"""Which mode a node's proxy works in, as ConfigMap kube-system/kube-proxy says (pure).

As kubeadm has it: `data["config.conf"]` is a KubeProxyConfiguration, its field `mode` counts. netpod's own addition:
`data["config-NODE.conf"]`, if there, counts for that node instead.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from netpod.api import codec
from netpod.api.core import ConfigMap
from netpod.errors import BadRequest
from netpod.proxy.config import Mode

NAMESPACE, NAME = "kube-system", "kube-proxy"
KEY = "config.conf"
API_VERSION, KIND = "kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration"


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
