"""A node's heartbeat, as a Lease.

Source: kubelet's component-helpers/apimachinery/lease.
"""

import asyncio
from dataclasses import replace

from netpod.api import meta
from netpod.api.coordination import Lease, LeaseSpec
from netpod.api.meta import ObjectMeta, OwnerReference
from netpod.client.rest import Client
from netpod.errors import ApiError, NotFound


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
