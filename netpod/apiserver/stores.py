"""Open the store a cluster keeps its objects in; nobody but the API server does."""

from pathlib import Path

from netpod.apiserver.storeconfig import StoreConfig
from netpod.store.etcd import EtcdStore
from netpod.store.gateway import Target
from netpod.store.sqlite import SqliteStore
from netpod.store.store import Store

_EMBEDDED = StoreConfig()


async def open_store(path: Path, config: StoreConfig = _EMBEDDED) -> Store:
    """Open the embedded store in the file `path`, made on first use, or the etcd that `config` names.

    The task that opens a store closes it.

    Raises:
        NetpodError: the file is damaged, or of a newer netpod; no etcd member answers.
        UsageError: `config` cannot be.
    """
    endpoints = config.endpoints()
    if not endpoints:
        return await SqliteStore.open(path)
    ca, cert, key = (Path(it) if it else None for it in (config.ca, config.cert, config.key))
    return await EtcdStore.open(Target(endpoints=endpoints, ca=ca, cert=cert, key=key))
