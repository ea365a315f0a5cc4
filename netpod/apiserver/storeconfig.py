"""Which store a cluster keeps its objects in, as the command line and config.json name it."""

import re
from dataclasses import dataclass
from pathlib import Path

from netpod.errors import UsageError

SCHEME = "etcd://"
_ENDPOINT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_PORT = 2379


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """The embedded store, or an etcd cluster that belongs to this cluster alone.

    Attributes:
        url: "" is SQLite in the cluster's state folder; etcd://HOST[:2379][,HOST...] an etcd cluster.
        ca: PEM file of who signed the members' certificates; "" with no certificate either is plain HTTP.
        cert: PEM file of our client certificate, and `key` of its key; both or none.
    """

    url: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""

    def endpoints(self) -> tuple[str, ...]:
        """host:port of each etcd member; none: the embedded store.

        Raises:
            UsageError: what is wrong with which field.
        """
        if not self.url:
            if self.ca or self.cert or self.key:
                raise UsageError(
                    "cannot use --store-ca, --store-cert or --store-key without --store"
                )
            return ()
        if not self.url.startswith(SCHEME):
            raise UsageError(
                f"cannot use store {self.url!r}: write {SCHEME}HOST:{_PORT}[,HOST:{_PORT}...]"
            )
        found = []
        for item in self.url.removeprefix(SCHEME).split(","):
            match = _ENDPOINT.fullmatch(item)
            port = int(match[2] or _PORT) if match else 0
            if match is None or not 1 <= port <= 65535:
                raise UsageError(f"cannot use store {self.url!r}: {item!r} is no HOST[:PORT]")
            found.append(f"{match[1]}:{port}")
        if bool(self.cert) != bool(self.key):
            raise UsageError("cannot use --store-cert without --store-key, nor the other way round")
        for file in filter(None, (self.ca, self.cert, self.key)):
            if not Path(file).is_absolute():
                raise UsageError(f"cannot use store file {file!r}: write its path from / on")
        return tuple(found)
