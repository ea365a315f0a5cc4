"""A cluster's keys and kubeconfigs: made while the supervisor still imports, then only read.

Making keys needs a library that costs 80 ms and 10 MB to import; using them needs only `ssl`. So the process that
starts a cluster makes them, and a long-lived process imports the maker only when something must be renewed.
"""

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from netpod.cluster import without
from netpod.cluster.config import ClusterConfig, NodeConfig
from netpod.ip import host_port

if TYPE_CHECKING:
    from netpod.api.certificates import CertificateSigningRequest
    from netpod.apiserver.pki import Authority

ADDONS = ("dns", "ingress")
ADDONS_GROUP = "system:serviceaccounts:kube-system"
API_SERVER = "apiserver"
KUBELET_CLIENT = "kube-apiserver-kubelet-client"
DEFAULT_NAME = "netpod ingress default certificate"
_FRESH = "made"


def ensure(config: ClusterConfig) -> None:
    """Make the authority, the certificates and the kubeconfigs, where they are missing or near their end."""
    from netpod.api import meta
    from netpod.apiserver import pki
    from netpod.cluster import selfsigned

    authority = pki.Authority(config.paths.pki, meta.now())
    pki.Authority(config.paths.pki, meta.now(), "front-proxy-ca")
    services = [network[1] for network in config.service_networks]
    authority.server(pki.server_names([*config.nodes[0].node_ips, *services]))
    authority.client(KUBELET_CLIENT, KUBELET_CLIENT, ["system:masters"])
    for node in config.nodes:
        _ensure_kubelet(authority, node)
    inside = f"https://{host_port(config.kubernetes_ip, 443)}"
    local = f"https://127.0.0.1:{config.api_port}"
    wanted = [(config.paths.kubeconfig, local, "admin", "kubernetes-admin", "system:masters")]
    for name in ADDONS:
        user = f"system:serviceaccount:kube-system:{name}"
        wanted.append((kubeconfig(config, name), inside, name, user, ADDONS_GROUP))
    at_node = f"https://{host_port(config.control_plane_ip, 6443)}"
    for name in without.parse(config.without):
        server = at_node if name == without.KUBE_PROXY else local
        wanted.append((without.kubeconfig(config.paths, name), server, name, f"system:{name}", ""))
        if name == without.CONTROLLERS:
            pki.signing_key(config.paths.pki)
    for file, server, role, user, group in wanted:
        text = pki.kubeconfig(
            cluster=config.name,
            server=server,
            ca_pem=authority.ca_pem,
            user=user,
            client=authority.client(role, user, [group] if group else []),
        )
        _write_private(file, text)
    # Beside the kubeconfigs, made anew with them: it vouches for nothing, so none has to outlive the other.
    _write_private(default_certificate(config), selfsigned.pem(DEFAULT_NAME, meta.now()))
    _write_private(config.paths.pki / _FRESH, "")


def ensure_kubelet(config: ClusterConfig, node: NodeConfig) -> None:
    """Make the certificate of one node's kubelet, where it is missing or near its end."""
    from netpod.api import meta
    from netpod.apiserver import pki

    _ensure_kubelet(pki.Authority(config.paths.pki, meta.now()), node)


def _ensure_kubelet(authority: "Authority", node: NodeConfig) -> None:
    names = [node.name, *map(str, node.node_ips)]
    authority.server(names, kubelet(node.name), f"system:node:{node.name}")


def certify(config: ClusterConfig, request: "CertificateSigningRequest") -> bytes:
    """Make the certificate that an approved request asks for, in PEM.

    Raises:
        NetpodError: its signer does not sign such a request.
    """
    from netpod.api import meta
    from netpod.apiserver import certify, pki

    return certify.sign(pki.Authority(config.paths.pki, meta.now()), request)


def kubeconfig(config: ClusterConfig, addon: str) -> Path:
    """Where an add-on's kubeconfig lies."""
    return config.paths.run / f"{addon}.kubeconfig"


def default_certificate(config: ClusterConfig) -> Path:
    """Where the ingress' certificate for hosts without one of their own lies, with its key."""
    return config.paths.run / "ingress.pem"


def server_context(config: ClusterConfig) -> ssl.SSLContext:
    """Return the API server's TLS context; keys are made first if they are not all there."""
    if not (config.paths.pki / _FRESH).exists() or not config.paths.kubeconfig.exists():
        ensure(config)
    return _server_context(config, API_SERVER, ssl.CERT_OPTIONAL)


def kubelet_context(config: ClusterConfig, node: str) -> ssl.SSLContext:
    """Return a kubelet's TLS context; who comes without a certificate needs a token: kubelet/permission.py."""
    if not (config.paths.pki / f"{kubelet(node)}.crt").exists():
        ensure(config)
    return _server_context(config, kubelet(node), ssl.CERT_OPTIONAL)


def kubelet_client_context(config: ClusterConfig) -> ssl.SSLContext:
    """Return the TLS context with which the API server goes to kubelets."""
    folder = config.paths.pki
    if not (folder / f"{KUBELET_CLIENT}.crt").exists():
        ensure(config)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / f"{KUBELET_CLIENT}.crt", folder / f"{KUBELET_CLIENT}.key")
    context.load_verify_locations(folder / "ca.crt")
    return context


def kubelet(node: str) -> str:
    """The role of a kubelet's certificate."""
    return f"kubelet-{node}"


def _server_context(config: ClusterConfig, role: str, verify: ssl.VerifyMode) -> ssl.SSLContext:
    folder = config.paths.pki
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / f"{role}.crt", folder / f"{role}.key")
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = verify
    context.set_alpn_protocols(["http/1.1"])
    return context


def _write_private(file: Path, text: str) -> None:
    """Write a file that only root may read, in one step."""
    fresh = file.with_name(f".{file.name}.new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as stream:
        stream.write(text)
    fresh.replace(file)
