"""`python -m netpod.apiserver FOLDER`: an API server by itself, on FOLDER/apiserver.sock and 127.0.0.1:6443."""

import asyncio
import os
import socket
import sys
from pathlib import Path

from netpod.api import meta
from netpod.apiserver import pki
from netpod.apiserver.authentication import TRUSTED
from netpod.apiserver.server import ApiServer, ApiServerConfig, Listener
from netpod.store.sqlite import SqliteStore

PORT = 6443


async def main(folder: Path) -> None:
    """Serve from `folder` until interrupted; writes a kubeconfig there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "apiserver.sock"
    path.unlink(missing_ok=True)
    local = socket.socket(socket.AF_UNIX)
    os.umask(0o077)
    local.bind(str(path))
    local.listen(1024)
    remote = socket.create_server(("127.0.0.1", PORT), backlog=1024)
    authority = pki.Authority(folder / "pki", meta.now())
    client = authority.client("admin", "kubernetes-admin", ["system:masters"])
    (folder / "kubeconfig").write_text(
        pki.kubeconfig(
            cluster="netpod",
            server=f"https://127.0.0.1:{PORT}",
            ca_pem=authority.ca_pem,
            user="kubernetes-admin",
            client=client,
        )
    )
    store = await SqliteStore.open(folder / "store.db")
    try:
        server = ApiServer(store, ApiServerConfig(pki=folder / "pki"))
        tls = authority.server_context(pki.server_names([]))
        await server.serve([Listener(socket=local, user=TRUSTED), Listener(socket=remote, tls=tls)])
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
