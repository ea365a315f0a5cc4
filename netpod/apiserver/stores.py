"""Open the store a cluster keeps its objects in; nobody but the API server does."""

from pathlib import Path

from netpod.store.sqlite import SqliteStore
from netpod.store.store import Store


async def open_store(path: Path) -> Store:
    """Open the embedded store in the file `path`, made on first use.

    Raises:
        NetpodError: the file is damaged, or of a newer netpod.
    """
    return await SqliteStore.open(path)
