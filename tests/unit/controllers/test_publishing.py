"""Mirrored EndpointSlices and the published root certificate, against the real API server."""

from pathlib import Path

from netpod.api.core import ConfigMap, Endpoints
from netpod.api.discovery import EndpointSlice
from netpod.api.service import Service
from netpod.client.rest import Client
from tests.unit.controllers import plane, workloads

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {ports: [{port: 5432}]}
"""
BY_HAND = """
apiVersion: v1
kind: Endpoints
metadata: {name: db, labels: {tier: data}}
subsets:
- addresses: [{ip: 192.0.2.7}, {ip: "2001:db8::7"}]
  notReadyAddresses: [{ip: 192.0.2.8}]
  ports: [{port: 5432}]
"""


async def mirrored(client: Client) -> dict[str, dict[str, bool | None]]:
    """Return readiness by address by family of Service db's slices."""
    selector = "kubernetes.io/service-name=db"
    found = (await client.list(EndpointSlice, "shop", label_selector=selector)).items
    return {
        s.address_type: {e.addresses[0]: e.conditions.ready for e in s.endpoints} for s in found
    }


def test_endpoints_by_hand_become_slices(tmp_path: Path) -> None:
    """One slice per family, with readiness; it follows changes, and goes with the Endpoints or when asked to."""

    async def story(client: Client) -> None:
        await client.create(workloads.made(SERVICE))
        await client.create(workloads.made(BY_HAND))

        async def shows(**families: dict[str, bool]) -> bool:
            return await mirrored(client) == families

        both = {"192.0.2.7": True, "192.0.2.8": False}
        await plane.until(lambda: shows(IPv4=both, IPv6={"2001:db8::7": True}))
        (item, *_) = (await client.list(EndpointSlice, "shop")).items
        labels = item.metadata.labels
        manager = labels["endpointslice.kubernetes.io/managed-by"]
        assert manager == "endpointslicemirroring-controller.k8s.io"
        assert labels["tier"] == "data"
        subset = {"addresses": [{"ip": "192.0.2.9"}], "ports": [{"port": 5432}]}
        await client.patch(Endpoints, "db", "shop", {"subsets": [subset]})
        await plane.until(lambda: shows(IPv4={"192.0.2.9": True}))
        skip = {"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}}
        await client.patch(Endpoints, "db", "shop", skip)
        await plane.until(shows)
        await client.delete(Service, "db", "shop")

    workloads.tell(tmp_path, story)


def test_every_namespace_has_the_root_certificate(tmp_path: Path) -> None:
    """It is there, comes back when deleted, and is put right when changed."""

    async def story(client: Client) -> None:
        async def right() -> bool:
            if await plane.is_gone(client, ConfigMap, "kube-root-ca.crt"):
                return False
            found = await client.get(ConfigMap, "kube-root-ca.crt", "shop")
            return found.data == {"ca.crt": "PEM"}

        await plane.until(right)
        await client.delete(ConfigMap, "kube-root-ca.crt", "shop")
        await plane.until(right)
        await client.patch(ConfigMap, "kube-root-ca.crt", "shop", {"data": {"ca.crt": "x"}})
        await plane.until(right)

    workloads.tell(tmp_path, story, root_ca="PEM")
