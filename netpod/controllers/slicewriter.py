"""EndpointSlices as controllers write them: what went away meanwhile is looked at again, or was to go anyway."""

import logging

from netpod.api.discovery import EndpointSlice
from netpod.client.rest import Client
from netpod.controllers.view import View
from netpod.errors import Conflict, NotFound

log = logging.getLogger(__name__)


class SliceWriter:
    """Creates, updates and deletes slices, and lays what was written over the view."""

    def __init__(self, client: Client, view: View[EndpointSlice]) -> None:
        self._client = client
        self._view = view

    async def create(self, item: EndpointSlice) -> None:
        """Create a slice; in a namespace that is gone there is nothing to do."""
        try:
            self._view.wrote(await self._client.create(item))
        except NotFound:
            log.debug("namespace %s is gone", item.metadata.namespace)

    async def update(self, item: EndpointSlice) -> None:
        """Replace a slice.

        Raises:
            Conflict: it changed, or was deleted meanwhile; its Service is looked at again.
        """
        try:
            self._view.wrote(await self._client.update(item))
        except NotFound:
            self._view.removed(item)
            raise Conflict(
                f"cannot update endpointslice {item.metadata.name}: it was deleted meanwhile"
            ) from None

    async def delete(self, item: EndpointSlice) -> None:
        """Delete a slice; one that is gone, or another by now (its uid differs), is fine."""
        about = item.metadata
        try:
            await self._client.delete(EndpointSlice, about.name, about.namespace, uid=about.uid)
        except (NotFound, Conflict):
            log.debug("endpointslice %s is gone already", about.name)
        self._view.removed(item)
