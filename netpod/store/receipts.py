"""Receipts: how a write to etcd whose answer was lost is told from one that never happened.

Reading the key back is not enough: somebody else may have written the same bytes, or written since, and a request
that was lost on the way to the leader may still be carried out after the read. So each write carries, in the same
transaction, a second put: its number, into a receipt key that belongs to this process and to one write at a time,
and only if that receipt is as we left it. After a lost answer we try to write the receipt ourselves (the fence):

- the fence goes through: the write did not happen and never can, its condition on the receipt is gone;
- the receipt holds our number: the write happened, at exactly the receipt's revision.

Receipts hang on a lease, so what a process leaves behind goes by itself.
"""

import asyncio
import secrets
from dataclasses import dataclass

from netpod import errors
from netpod.store import gateway
from netpod.store.gateway import Gateway, LeaseGone, Lost, Message
from netpod.store.store import KeyValue, Revision

PREFIX = "/netpod.dev/receipts/"
LEASE_SECONDS = 3600
_LEASE_FRESH_SECONDS = 1200.0
_RECEIPT_FRESH_SECONDS = 1800.0
"""A lease is used for a third of its life and a receipt for half: none expires under a write's feet."""


@dataclass(slots=True, kw_only=True)
class Receipt:
    """One receipt key: its revision as we left it (0: absent), the number of its write, and when it was used."""

    key: str
    revision: Revision
    number: int = 0
    used: float = 0.0


class Receipts:
    """The receipts of this process; one is taken for each write and given back when its outcome is known."""

    def __init__(self, etcd: Gateway) -> None:
        self._etcd = etcd
        self._prefix = f"{PREFIX}{secrets.token_hex(8)}/"
        self._count = 0
        self._free: list[Receipt] = []
        self._lease = ""
        self._lease_until = 0.0
        self._granting = asyncio.Lock()

    def take(self) -> Receipt:
        """A receipt nobody else uses, with a new number."""
        now = asyncio.get_running_loop().time()
        while self._free:
            receipt = self._free.pop()
            if receipt.used > now - _RECEIPT_FRESH_SECONDS:
                break
        else:
            self._count += 1
            receipt = Receipt(key=f"{self._prefix}{self._count}", revision=Revision(0))
        receipt.number += 1
        receipt.used = now
        return receipt

    def give_back(self, receipt: Receipt, revision: Revision) -> None:
        """Let the next write have it; `revision` is the receipt's own now."""
        receipt.revision = revision
        self._free.append(receipt)

    async def lease(self) -> str:
        """The lease to write receipts with.

        Raises:
            Unavailable: etcd grants none.
        """
        loop = asyncio.get_running_loop()
        async with self._granting:
            if loop.time() >= self._lease_until:
                # Granted twice because an answer was lost, the first one just expires.
                granted = await self._etcd.read("lease/grant", {"TTL": str(LEASE_SECONDS)})
                self._lease = str(granted["ID"])
                self._lease_until = loop.time() + _LEASE_FRESH_SECONDS
            return self._lease

    def forget_lease(self) -> None:
        """Get another lease for the next write."""
        self._lease_until = 0.0

    async def fence(self, receipt: Receipt) -> Revision | None:
        """Settle whether the write that carried `receipt` happened; it cannot happen any more afterwards.

        Returns:
            The write's revision, or None: it did not happen. The receipt's own revision is brought up to date.

        Raises:
            Unavailable: etcd does not answer, so nobody knows. The receipt must not be used again.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + gateway.BOUND_SECONDS
        while True:
            try:
                body = transaction(
                    [unchanged(receipt.key, receipt.revision)],
                    [put(receipt.key, f"{receipt.number} void".encode(), await self.lease())],
                    [{"request_range": {"key": gateway.encode(receipt.key)}}],
                )
                answer = await self._etcd.write("kv/txn", body)
                break
            except LeaseGone:
                self.forget_lease()
            except (Lost, errors.Unavailable) as error:
                if loop.time() >= deadline:
                    raise errors.Unavailable(
                        f"cannot say whether the store was written: {error}"
                    ) from error
                await asyncio.sleep(gateway.PAUSE_SECONDS)
        if answer.get("succeeded"):
            receipt.revision = gateway.revision_of(answer["header"], "revision")
            return None
        found = gateway.first_of(answer["responses"][0]["response_range"].get("kvs"))
        if found is None:
            raise errors.Unavailable(
                "cannot say whether the store was written: its receipt is gone"
            )
        return _told_by(receipt, found)

    async def outcome(self, receipt: Receipt) -> Revision | None:
        """Whether the write that carried `receipt` happened, when etcd has answered it: then it cannot happen later.

        Returns:
            As `fence`.

        Raises:
            Unavailable: etcd does not answer.
        """
        answer = await self._etcd.read("kv/range", {"key": gateway.encode(receipt.key)})
        found = gateway.first_of(answer.get("kvs"))
        return None if found is None else _told_by(receipt, found)


def _told_by(receipt: Receipt, found: KeyValue) -> Revision | None:
    receipt.revision = found.mod_revision
    return found.mod_revision if found.value == str(receipt.number).encode() else None


def unchanged(key: str, revision: Revision) -> Message:
    """The condition that a key's last write was `revision`; 0: that there is no such key."""
    return {
        "key": gateway.encode(key),
        "target": "MOD",
        "result": "EQUAL",
        "mod_revision": str(revision),
    }


def put(key: str, value: bytes, lease: str = "0") -> Message:
    """A put, as a part of a transaction."""
    return {
        "request_put": {
            "key": gateway.encode(key),
            "value": gateway.encode(value),
            "lease": lease,
        }
    }


def transaction(compare: list[Message], success: list[Message], failure: list[Message]) -> Message:
    """A TxnRequest."""
    return {"compare": compare, "success": success, "failure": failure}
