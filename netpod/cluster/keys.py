"""A cluster's keys and kubeconfigs: made while the supervisor still imports, then only read.

Making keys needs a library that costs 80 ms and 10 MB to import; using them needs only `ssl`. So the process that
starts a cluster makes them, and a long-lived process imports the maker only when something must be renewed.
"""

import os
import ssl
from pathlib import Path

from netpod.cluster.config import ClusterConfig

ADDONS = ("dns", "ingress")
ADDONS_GROUP = "system:serviceaccounts:kube-system"
_FRESH = "made"


def ensure(config: ClusterConfig) -> None:
    """Make the authority, the certificates and the kubeconfigs, where they are missing or near their end."""
    from netpod.api import meta
    from netpod.apiserver import pki

    authority = pki.Authority(config.paths.pki, meta.now())
    authority.server(pki.server_names([config.control_plane_ip, config.kubernetes_ip]))
    inside = f"https://{config.kubernetes_ip}:443"
    local = f"https://127.0.0.1:{config.api_port}"
    wanted = [(config.paths.kubeconfig, local, "admin", "kubernetes-admin", "system:masters")]
    for name in ADDONS:
        user = f"system:serviceaccount:kube-system:{name}"
        wanted.append((kubeconfig(config, name), inside, name, user, ADDONS_GROUP))
    for file, server, role, user, group in wanted:
        text = pki.kubeconfig(
            cluster=config.name,
            server=server,
            ca_pem=authority.ca_pem,
            user=user,
            client=authority.client(role, user, [group]),
        )
        _write_private(file, text)
    _write_private(config.paths.pki / _FRESH, "")


def kubeconfig(config: ClusterConfig, addon: str) -> Path:
    """Where an add-on's kubeconfig lies."""
    return config.paths.run / f"{addon}.kubeconfig"


def server_context(config: ClusterConfig) -> ssl.SSLContext:
    """Return the API server's TLS context; keys are made first if they are not all there."""
    folder = config.paths.pki
    if not (folder / _FRESH).exists() or not config.paths.kubeconfig.exists():
        ensure(config)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / "apiserver.crt", folder / "apiserver.key")
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def _write_private(file: Path, text: str) -> None:
    """Write a file that only root may read, in one step."""
    fresh = file.with_name(f".{file.name}.new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as stream:
        stream.write(text)
    fresh.replace(file)
