"""Who comes through which unix socket: one socket for each component, so that none of them has to show a key.

    apiserver.sock                    system:masters: the command line
    api/node-NODE.sock                system:node:NODE: the node's kubelet
    api/kube-proxy.sock, ...          the other components, one user each

Folder and sockets are root's. A component that is led astray can do what its user may, no more.
"""

import asyncio
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from netpod.apiserver.authentication import AUTHENTICATED, TRUSTED, User
from netpod.apiserver.server import ApiServer, Listener
from netpod.cluster import config as configuration
from netpod.cluster.config import ClusterConfig
from netpod.cluster.without import CONTROLLERS, KUBE_PROXY, SCHEDULER
from netpod.errors import UsageError
from netpod.linux import libc

NETWORK_POLICY, CLOUD = "network-policy", "cloud-controller-manager"


def _system(name: str) -> User:
    return User(name=f"system:{name}", groups=frozenset({AUTHENTICATED}))


def _account(name: str) -> User:
    groups = {"system:serviceaccounts", "system:serviceaccounts:kube-system", AUTHENTICATED}
    return User(name=f"system:serviceaccount:kube-system:{name}", groups=frozenset(groups))


USERS: Mapping[str, User] = {
    **{name: _system(name) for name in (KUBE_PROXY, CONTROLLERS, SCHEDULER)},
    **{name: _account(name) for name in (NETWORK_POLICY, CLOUD)},
}


def kubelet(node: str) -> str:
    """The identity of a node's kubelet."""
    return f"node-{node}"


def listen(config: ClusterConfig) -> list[Listener]:
    """Listen for everybody there is."""
    paths = config.paths
    users = {kubelet(node.name): _node(node.name) for node in config.nodes} | dict(USERS)
    listeners = [_listener(paths.socket_of(name), user) for name, user in users.items()]
    return [_listener(paths.api_socket, TRUSTED), *listeners]


async def follow(config: ClusterConfig, server: ApiServer) -> NoReturn:
    """Let nodes in that are added to the cluster, and out that leave it, for ever."""
    listeners: dict[str, Listener | None] = {node.name: None for node in config.nodes}
    news = asyncio.Event()
    fd = libc.inotify(config.paths.state, libc.IN_MOVED_TO)
    loop = asyncio.get_running_loop()

    def written() -> None:
        os.read(fd, 1 << 16)
        news.set()

    loop.add_reader(fd, written)
    try:
        while True:
            try:
                nodes = {node.name for node in configuration.load(config.name).nodes}
            except UsageError:
                nodes = set(listeners)  # it is being taken down
            for name in nodes - listeners.keys():
                added = _listener(config.paths.socket_of(kubelet(name)), _node(name))
                await server.open(added)
                listeners[name] = added
            for name in listeners.keys() - nodes:
                config.paths.socket_of(kubelet(name)).unlink(missing_ok=True)
                gone = listeners.pop(name)
                if gone is not None:
                    await server.shut(gone)
            await news.wait()
            news.clear()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def _node(name: str) -> User:
    return User(name=f"system:node:{name}", groups=frozenset({"system:nodes", AUTHENTICATED}))


def _listener(path: Path, user: User) -> Listener:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(fresh))
    fresh.chmod(0o600)
    listening.listen(1024)
    # In one step: whoever finds the name finds somebody listening.
    fresh.replace(path)
    return Listener(socket=listening, user=user)
