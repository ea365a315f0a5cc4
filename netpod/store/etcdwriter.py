"""Writes to etcd: one transaction each, that compares the key's mod_revision, and whose outcome is always known.

Source: k8s.io/apiserver pkg/storage/etcd3/store.go.
"""

import asyncio

from netpod import errors
from netpod.store import gateway, receipts
from netpod.store.gateway import Gateway, LeaseGone, Lost, Message, Unreachable
from netpod.store.receipts import Receipt, Receipts
from netpod.store.store import KeyValue, Revision

IN_FLIGHT = gateway.CONNECTIONS
"""Writes on their way at once."""


class EtcdWriter:
    """The writes of one store. A member lost, or the leader: asked again within bounds, then Unavailable."""

    def __init__(self, etcd: Gateway) -> None:
        self._etcd = etcd
        self._receipts = Receipts(etcd)
        self._turn = asyncio.Semaphore(IN_FLIGHT)
        self.closing = False

    async def write(self, key: str, value: bytes | None, expected: Revision | None) -> KeyValue:
        """Carry out a write; value None deletes, expected None creates. Returns and raises what the store's do."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + gateway.BOUND_SECONDS
        async with self._turn:
            while True:
                if self.closing:
                    raise errors.Unavailable(f"cannot write {key}: the store is closed")
                try:
                    written = await self._attempt(key, value, expected)
                except (Lost, Unreachable) as error:
                    cause: Exception = error
                except errors.InsufficientStorage:
                    if value is not None or expected is None:
                        raise
                    return await self._delete_only(key, expected)
                except errors.Unavailable as error:
                    raise errors.Unavailable(f"cannot write {key}: {error}") from error
                else:
                    if written is not None:
                        return written
                    continue
                if loop.time() >= deadline:
                    raise errors.Unavailable(f"cannot write {key}: {cause}") from cause
                await asyncio.sleep(gateway.PAUSE_SECONDS)

    async def _attempt(
        self, key: str, value: bytes | None, expected: Revision | None
    ) -> KeyValue | None:
        """One transaction. None: it was refused for its lease or its receipt; try with new ones.

        A receipt is given back only when it is known what became of the write, also when we are cancelled.

        Raises:
            Lost: it was not carried out, and never will be.
            ApiError: as `write` says.
        """
        lease = await self._receipts.lease()
        receipt = self._receipts.take()
        try:
            answer = await self._etcd.write(
                "kv/txn", _transaction(key, value, expected, receipt, lease)
            )
        except LeaseGone:
            self._receipts.forget_lease()
            return None
        except errors.InsufficientStorage:
            # etcd says so of the write that used its last room, too, and has carried that one out.
            happened = await self._receipts.outcome(receipt)
            self._receipts.give_back(receipt, receipt.revision)
            if happened is None:
                raise
            return await self._read_back(key, value, happened)
        except (errors.Unavailable, errors.TooLarge):
            self._receipts.give_back(receipt, receipt.revision)
            raise
        except Lost:
            happened = await self._receipts.fence(receipt)
            self._receipts.give_back(receipt, receipt.revision)
            if happened is None:
                raise
            return await self._read_back(key, value, happened)
        responses = answer.get("responses", ())
        if answer.get("succeeded"):
            revision = gateway.revision_of(answer["header"], "revision")
            self._receipts.give_back(receipt, revision)
            if value is None:
                return _gone(key, answer)
            created = revision
            if expected is not None:
                before = responses[1]["response_range"]["kvs"][0]
                created = gateway.revision_of(before, "create_revision")
            return KeyValue(key, value, created, revision)
        found, left = (gateway.first_of(it["response_range"].get("kvs")) for it in responses)
        if (left.mod_revision if left else 0) != receipt.revision:
            return None  # its lease ran out after all; the key itself may be as expected
        self._receipts.give_back(receipt, receipt.revision)
        raise _refusal(key, expected, found)

    async def _delete_only(self, key: str, expected: Revision) -> KeyValue:
        """Delete without a receipt: an etcd without room takes nothing that writes, but deletions make room.

        Raises:
            Unavailable: the answer was lost, so nobody knows.
            NotFound, Conflict: as for `write`.
        """
        name = gateway.encode(key)
        body = receipts.transaction(
            [receipts.unchanged(key, expected)],
            [{"request_delete_range": {"key": name, "prev_kv": True}}],
            [{"request_range": {"key": name}}],
        )
        try:
            answer = await self._etcd.write("kv/txn", body)
        except Lost as error:
            raise errors.Unavailable(f"cannot say whether {key} was deleted: {error}") from error
        response = answer["responses"][0]
        if not answer.get("succeeded"):
            found = gateway.first_of(response["response_range"].get("kvs"))
            raise _refusal(key, expected, found)
        return _gone(key, answer)

    async def _read_back(self, key: str, value: bytes | None, revision: Revision) -> KeyValue:
        """What a write that happened at `revision` would have returned, had its answer not been lost."""
        at = revision if value is not None else Revision(revision - 1)
        try:
            body = {"key": gateway.encode(key), "revision": str(at)}
            found = gateway.first_of((await self._etcd.read("kv/range", body)).get("kvs"))
        except errors.Expired as error:
            raise errors.Unavailable(
                f"cannot read {key} back: it was written at {revision}, and compacted since"
            ) from error
        assert found is not None, "a receipt is written together with its key"
        return KeyValue(key, found.value, found.create_revision, revision)


def _transaction(
    key: str, value: bytes | None, expected: Revision | None, receipt: Receipt, lease: str
) -> Message:
    """The compare-and-swap with its receipt; otherwise what key and receipt are instead."""
    compare = [
        receipts.unchanged(key, expected or Revision(0)),
        receipts.unchanged(receipt.key, receipt.revision),
    ]
    mark = receipts.put(receipt.key, str(receipt.number).encode(), lease)
    name = gateway.encode(key)
    if value is None:
        success: list[Message] = [
            {"request_delete_range": {"key": name, "prev_kv": True}},
            mark,
        ]
    else:
        # What was created now has this revision; when an older key was, etcd tells.
        asked = [{"request_range": {"key": name, "keys_only": True}}] if expected else []
        success = [receipts.put(key, value), *asked, mark]
    failure: list[Message] = [
        {"request_range": {"key": name}},
        {"request_range": {"key": gateway.encode(receipt.key)}},
    ]
    return receipts.transaction(compare, success, failure)


def _gone(key: str, answer: Message) -> KeyValue:
    """What a transaction that began with a deletion has deleted."""
    last = gateway.key_value(answer["responses"][0]["response_delete_range"]["prev_kvs"][0])
    revision = gateway.revision_of(answer["header"], "revision")
    return KeyValue(key, last.value, last.create_revision, revision)


def _refusal(key: str, expected: Revision | None, found: KeyValue | None) -> errors.ApiError:
    if expected is None:
        return errors.AlreadyExists(f"cannot create {key}: it exists")
    if found is None:
        return errors.NotFound(f"cannot write {key}: it does not exist")
    return errors.Conflict(
        f"cannot write {key}: expected revision {expected}, it is {found.mod_revision}"
    )
