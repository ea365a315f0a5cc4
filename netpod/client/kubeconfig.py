"""Where an API server is and who we are, from a kubeconfig file.

Source: k8s.io/client-go tools/clientcmd/api/v1/types.go.
"""

import base64
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netpod.api import codec
from netpod.errors import NetpodError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An API server to talk to: either `socket` (root's unix socket) or `url` with TLS."""

    url: str = "http://apiserver"
    socket: str = ""
    tls: ssl.SSLContext | None = None
    token: str = ""


def load(path: Path) -> Endpoint:
    """Read the current context of a kubeconfig.

    Raises:
        UsageError: the file cannot be read or names no usable cluster.
    """
    cluster, user = _current(path)
    tls = ssl.create_default_context(cadata=_text(cluster, "certificate-authority"))
    _show(tls, user)
    url = str(cluster["server"])
    return Endpoint(url=url, tls=tls, token=str(user.get("token", "")))


def renew(endpoint: Endpoint, path: Path) -> None:
    """Have an endpoint that `load` made show the certificate that the file has now.

    Raises:
        UsageError: the file cannot be read.
    """
    if endpoint.tls is not None:
        _show(endpoint.tls, _current(path)[1])


def _current(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Cluster and user of a file's current context."""
    try:
        (config,) = codec.load_manifests(path.read_bytes())
        context = _named(config, "contexts", config["current-context"])["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"]
        str(cluster["server"])
    except OSError as error:
        raise UsageError(f"cannot read kubeconfig {path}: {error.strerror}") from error
    except (NetpodError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"cannot read kubeconfig {path}: {error}") from error
    return cluster, user


def _named(config: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    for entry in config[section]:
        if entry["name"] == name:
            return dict(entry)
    raise KeyError(f"no {section} entry named {name}")


def _show(context: ssl.SSLContext, user: dict[str, Any]) -> None:
    """Have a context show a user's certificate, if there is one."""
    certificate, key = _text(user, "client-certificate"), _text(user, "client-key")
    if certificate and key:
        # load_cert_chain reads files only.
        with tempfile.NamedTemporaryFile(
            dir="/dev/shm" if Path("/dev/shm").is_dir() else None
        ) as f:
            f.write(f"{certificate}\n{key}".encode())
            f.flush()
            context.load_cert_chain(f.name)


def _text(section: dict[str, Any], name: str) -> str | None:
    data = section.get(f"{name}-data")
    if data:
        return base64.b64decode(data).decode()
    file = section.get(name)
    return Path(file).read_text() if file else None
