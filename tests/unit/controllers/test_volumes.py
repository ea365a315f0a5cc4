"""Claims get volumes, volumes follow their claims, StatefulSets make both; against the real API server."""

from pathlib import Path

from netpod.api.core import Event
from netpod.api.pod import Pod
from netpod.api.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
from netpod.api.workloads import StatefulSet
from netpod.client.rest import Client
from netpod.errors import ApiError
from tests.unit.controllers import plane, workloads

CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""
VOLUME = """
apiVersion: v1
kind: PersistentVolume
metadata: {name: NAME}
spec:
  capacity: {storage: SIZE}
  accessModes: [ReadWriteOnce, ReadWriteMany]
  storageClassName: ""
  hostPath: {path: /srv/NAME}
"""
USER = """
apiVersion: v1
kind: Pod
metadata: {name: user}
spec:
  containers: [{name: c, image: web}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"""
DB = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  podManagementPolicy: Parallel
  persistentVolumeClaimRetentionPolicy: {whenScaled: Delete, whenDeleted: Delete}
  selector: {matchLabels: {app: db}}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, image: "db:1"}]}
"""


async def bound(client: Client, name: str) -> str:
    """Return the volume a claim is bound to once both say so, else ""."""
    claim = await client.get(PersistentVolumeClaim, name, "shop")
    if claim.status.phase != "Bound":
        return ""
    volume = await client.get(PersistentVolume, claim.spec.volume_name)
    reference = volume.spec.claim_ref
    agreed = volume.status.phase == "Bound" and reference is not None
    return volume.metadata.name if agreed and reference.uid == claim.metadata.uid else ""


async def told(client: Client, reason: str, words: str) -> bool:
    """Tell whether an event says so."""
    events = (await client.list(Event, "shop")).items
    return any(e.reason == reason and words in e.message for e in events)


def test_a_claim_of_the_default_class_gets_a_volume_and_takes_it_along(tmp_path: Path) -> None:
    """The volume is a directory below the cluster's own; with the claim go the object and the files."""
    root = tmp_path / "volumes"

    async def story(client: Client) -> None:
        claim = await client.create(workloads.made(CLAIM))
        assert claim.spec.storage_class_name == "standard"

        async def is_bound() -> str:
            return await bound(client, "data")

        await plane.until(is_bound)
        claim = await client.get(PersistentVolumeClaim, "data", "shop")
        assert dict(claim.status.capacity) == {"storage": "1Gi"}
        volume = await client.get(PersistentVolume, claim.spec.volume_name)
        path = Path(volume.spec.unknown["hostPath"]["path"])
        assert path == root / f"pvc-{claim.metadata.uid}_shop_data"
        path.mkdir(parents=True)
        (path / "row").write_text("1")
        beside = root / "other"
        beside.mkdir()
        await client.delete(PersistentVolumeClaim, "data", "shop")

        async def gone() -> bool:
            return not path.exists() and await plane.is_gone(
                client, PersistentVolume, volume.metadata.name, ""
            )

        await plane.until(gone)
        assert beside.exists()

    workloads.tell(tmp_path, story, volumes=root)


def test_a_claim_takes_the_smallest_volume_that_is_large_enough(tmp_path: Path) -> None:
    """Volumes made by hand: bound one to one, and kept (Released) when the claim is gone."""

    async def story(client: Client) -> None:
        for name, size in (("small", "500Mi"), ("right", "2Gi"), ("huge", "9Gi")):
            await client.create(workloads.made(VOLUME.replace("NAME", name).replace("SIZE", size)))
        wanted = workloads.made(CLAIM.replace("spec: {", 'spec: {storageClassName: "", '))
        await client.create(wanted)

        async def right() -> bool:
            return await bound(client, "data") == "right"

        await plane.until(right)
        await client.delete(PersistentVolumeClaim, "data", "shop")

        async def released() -> bool:
            return (await client.get(PersistentVolume, "right")).status.phase == "Released"

        await plane.until(released)
        assert (await client.get(PersistentVolume, "huge")).status.phase == "Available"

    workloads.tell(tmp_path, story)


def test_a_claim_that_nothing_serves_says_why(tmp_path: Path) -> None:
    """No class; a class that is not there; one that waits for the pod's node, and then does not."""

    async def story(client: Client) -> None:
        nobody = CLAIM.replace("spec: {", 'spec: {storageClassName: "", ')
        await client.create(workloads.made(nobody))
        why = "no persistent volumes available for this claim and no storage class is set"
        await plane.until(lambda: told(client, "FailedBinding", why))
        await client.delete(PersistentVolumeClaim, "data", "shop")
        await plane.until(lambda: plane.is_gone(client, PersistentVolumeClaim, "data"))
        await client.create(
            workloads.made(CLAIM.replace("spec: {", "spec: {storageClassName: late, "))
        )
        why = 'storageclass.storage.k8s.io "late" not found'
        await plane.until(lambda: told(client, "ProvisioningFailed", why))
        late = workloads.STANDARD.replace("name: standard", "name: late").replace("true", "false")
        await client.create(workloads.made(late + "volumeBindingMode: WaitForFirstConsumer\n"))
        why = "waiting for first consumer to be created before binding"
        await plane.until(lambda: told(client, "WaitForFirstConsumer", why))
        chosen = {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "worker"}}}
        await client.patch(PersistentVolumeClaim, "data", "shop", chosen)
        await plane.until(lambda: bound(client, "data"))
        assert (await client.get(StorageClass, "late")).reclaim_policy == "Delete"

    workloads.tell(tmp_path, story)


def test_a_claim_in_use_stays_until_its_pod_is_gone(tmp_path: Path) -> None:
    """Finalizer kubernetes.io/pvc-protection."""

    async def story(client: Client) -> None:
        await client.create(workloads.made(CLAIM))
        await client.create(workloads.made(USER))

        async def placed() -> bool:
            return bool((await client.get(Pod, "user", "shop")).spec.node_name)

        await plane.until(placed)
        await client.delete(PersistentVolumeClaim, "data", "shop")
        # The other claim is deleted later and goes at once: by then the first would have gone too.
        await client.create(workloads.made(CLAIM.replace("name: data", "name: free")))
        await client.delete(PersistentVolumeClaim, "free", "shop")
        await plane.until(lambda: plane.is_gone(client, PersistentVolumeClaim, "free"))
        claim = await client.get(PersistentVolumeClaim, "data", "shop")
        assert claim.metadata.deletion_timestamp
        await client.delete(Pod, "user", "shop", grace_period_seconds=0)
        await plane.until(lambda: plane.is_gone(client, PersistentVolumeClaim, "data"))

    workloads.tell(tmp_path, story)


def test_a_bound_volume_stays_until_its_claim_is_gone(tmp_path: Path) -> None:
    """Finalizer kubernetes.io/pv-protection."""

    async def story(client: Client) -> None:
        await client.create(workloads.made(CLAIM))
        await plane.until(lambda: bound(client, "data"))
        name = (await client.get(PersistentVolumeClaim, "data", "shop")).spec.volume_name
        free = workloads.made(VOLUME.replace("NAME", "free").replace("SIZE", "1Gi"))
        await client.create(free)
        for each in (name, "free"):
            await client.delete(PersistentVolume, each)
        await plane.until(lambda: plane.is_gone(client, PersistentVolume, "free", ""))
        volume = await client.get(PersistentVolume, name)
        assert (bool(volume.metadata.deletion_timestamp), volume.status.phase) == (True, "Bound")
        await client.delete(PersistentVolumeClaim, "data", "shop")
        await plane.until(lambda: plane.is_gone(client, PersistentVolume, name, ""))

    workloads.tell(tmp_path, story)


GROWING = """
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: growing}
provisioner: netpod.dev/host-path
allowVolumeExpansion: true
"""


def test_a_claim_grows_where_its_class_allows_it(tmp_path: Path) -> None:
    """Volume and claim get the new size; the default class refuses, and nothing becomes smaller."""

    async def story(client: Client) -> None:
        await client.create(workloads.made(GROWING))
        growing = CLAIM.replace("name: data", "name: more").replace(
            "spec: {", "spec: {storageClassName: growing, "
        )
        for manifest in (CLAIM, growing):
            await client.create(workloads.made(manifest))
        for name in ("data", "more"):
            await plane.until(lambda n=name: bound(client, n))  # type: ignore[misc]

        async def resize(name: str, size: str) -> str:
            patch = {"spec": {"resources": {"requests": {"storage": size}}}}
            try:
                await client.patch(PersistentVolumeClaim, name, "shop", patch)
            except ApiError as error:
                return str(error)
            return ""

        assert "only dynamically provisioned pvc can be resized" in await resize("data", "2Gi")
        assert "field can not be less than previous value" in await resize("more", "1Mi")
        assert await resize("more", "2Gi") == ""

        async def grown() -> bool:
            claim = await client.get(PersistentVolumeClaim, "more", "shop")
            volume = await client.get(PersistentVolume, claim.spec.volume_name)
            return dict(claim.status.capacity) == dict(volume.spec.capacity) == {"storage": "2Gi"}

        await plane.until(grown)

    workloads.tell(tmp_path, story)


def test_a_statefulsets_claims_follow_its_retention_policy(tmp_path: Path) -> None:
    """One claim per pod, before the pod; scaled away with it, and gone with the set."""

    async def story(client: Client) -> None:
        made = await client.create(workloads.made(DB))

        async def names() -> list[str]:
            found = (await client.list(PersistentVolumeClaim, "shop")).items
            return sorted(claim.metadata.name for claim in found)

        async def both_run() -> bool:
            running = [p for p in await plane.pods(client) if p.status.phase == "Running"]
            return len(running) == 2 and await names() == ["data-db-0", "data-db-1"]

        await plane.until(both_run)
        claim = await client.get(PersistentVolumeClaim, "data-db-1", "shop")
        assert claim.metadata.labels == {"app": "db"}
        await client.patch(StatefulSet, "db", "shop", {"spec": {"replicas": 1}})

        async def one_left() -> bool:
            return await names() == ["data-db-0"]

        await plane.until(one_left)
        await client.delete(StatefulSet, "db", "shop", uid=made.metadata.uid)

        async def none_left() -> bool:
            return await names() == []

        await plane.until(none_left)

    workloads.tell(tmp_path, story)
