"""Leases: a node's heartbeat, and which of several processes leads.

Source: kubelet's component-helpers/apimachinery/lease, client-go tools/leaderelection.
"""

import asyncio
from dataclasses import replace

from netpod.api import meta
from netpod.api.coordination import Lease, LeaseSpec
from netpod.api.meta import ObjectMeta, OwnerReference
from netpod.client.rest import Client
from netpod.errors import ApiError, Conflict, NotFound


class Heartbeat:
    """Renews one Lease as `holder`."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        holder: str,
        duration: int,
        owners: tuple[OwnerReference, ...] = (),
    ) -> None:
        self._client = client
        self._lease = Lease(
            metadata=ObjectMeta(name=name, namespace=namespace, owner_references=owners),
            spec=LeaseSpec(holder_identity=holder, lease_duration_seconds=duration),
        )

    async def renew(self) -> None:
        """Say once that the holder is alive; creates the Lease when it is missing."""
        key = self._lease.metadata
        moment = meta.micro_timestamp(meta.now())
        patch = {"spec": {"renewTime": moment, "holderIdentity": self._lease.spec.holder_identity}}
        try:
            await self._client.patch(Lease, key.name, key.namespace, patch)
        except NotFound:
            spec = replace(self._lease.spec, renew_time=moment, acquire_time=moment)
            await self._client.create(replace(self._lease, spec=spec))

    async def run(self, period: float) -> None:
        """Renew every `period` seconds forever; a failed renewal is tried again a second later."""
        while True:
            try:
                await self.renew()
            except ApiError:
                await asyncio.sleep(min(1.0, period))
            else:
                await asyncio.sleep(period)


async def acquire(
    client: Client, *, namespace: str, name: str, holder: str, duration: int, retry: float
) -> None:
    """Wait until this process holds the Lease; the caller then renews it with a Heartbeat.

    Args:
        client: Who asks.
        namespace: Of the Lease.
        name: Of the Lease.
        holder: Identity of this process; must differ between processes.
        duration: Seconds after the last renewal when others may take it.
        retry: Seconds between attempts.
    """
    while True:
        try:
            if await _try_acquire(client, namespace, name, holder, duration):
                return
        except ApiError:
            pass
        await asyncio.sleep(retry)


async def _try_acquire(
    client: Client, namespace: str, name: str, holder: str, duration: int
) -> bool:
    moment = meta.now()
    spec = LeaseSpec(
        holder_identity=holder,
        lease_duration_seconds=duration,
        acquire_time=meta.micro_timestamp(moment),
        renew_time=meta.micro_timestamp(moment),
    )
    try:
        lease = await client.get(Lease, name, namespace)
    except NotFound:
        await client.create(Lease(metadata=ObjectMeta(name=name, namespace=namespace), spec=spec))
        return True
    held = lease.spec
    if held.holder_identity not in (None, "", holder) and held.renew_time:
        age = (moment - meta.parse_timestamp(held.renew_time)).total_seconds()
        if age < (held.lease_duration_seconds or duration):
            return False
    transitions = (held.lease_transitions or 0) + (held.holder_identity != holder)
    try:
        await client.update(replace(lease, spec=replace(spec, lease_transitions=transitions)))
    except Conflict:
        return False
    return True
