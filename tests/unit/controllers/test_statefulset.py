"""StatefulSets against the real API server and scheduler."""

from pathlib import Path

from netpod.api.discovery import EndpointSlice
from netpod.api.pod import Pod
from netpod.api.workloads import ControllerRevision, StatefulSet
from netpod.client.rest import Client
from tests.unit.controllers import plane, workloads

DB = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 3
  serviceName: db
  selector: {matchLabels: {app: db}}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, image: "db:1", volumeMounts: [{name: data, mountPath: /data}]}]}
"""
HEADLESS = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 5432}]}
"""


async def images(client: Client) -> dict[str, str]:
    """Return the images of live pods that run, by name."""
    return {
        p.metadata.name: p.spec.containers[0].image
        for p in await plane.pods(client)
        if p.status.phase == "Running" and not p.metadata.deletion_timestamp
    }


async def roll(client: Client, image: str) -> None:
    """Change the template's image."""
    mounts = [{"name": "data", "mountPath": "/data"}]
    containers = [{"name": "c", "image": image, "volumeMounts": mounts}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    await client.patch(StatefulSet, "db", "shop", patch)


def test_pods_come_in_order_with_names_and_addresses_of_their_own(tmp_path: Path) -> None:
    """db-1 is made when db-0 is ready; each has its labels, host name and place in the headless Service's slice."""
    held = {"db-1"}

    async def story(client: Client) -> None:
        await client.create(workloads.made(HEADLESS))
        made = await client.create(workloads.made(DB))

        async def waits() -> bool:
            found = await plane.pods(client)
            assert "db-2" not in {p.metadata.name for p in found}, "db-1 is not ready yet"
            return len(found) == 2

        await plane.until(waits)
        held.clear()

        async def whole() -> bool:
            return sorted(await images(client)) == ["db-0", "db-1", "db-2"]

        await plane.until(whole)
        pod = (await plane.pods(client))[1]
        assert pod.metadata.labels["statefulset.kubernetes.io/pod-name"] == "db-1"
        assert pod.metadata.labels["apps.kubernetes.io/pod-index"] == "1"
        assert (pod.spec.hostname, pod.spec.subdomain) == ("db-1", "db")
        volume = {v.name: v.unknown for v in pod.spec.volumes}["data"]
        assert volume == {"persistentVolumeClaim": {"claimName": "data-db-1"}}

        async def named() -> bool:
            slices = (await client.list(EndpointSlice, "shop")).items
            names = {e.hostname for s in slices for e in s.endpoints}
            return names == {"db-0", "db-1", "db-2"}

        await plane.until(named, "host names in the slice")
        said = await workloads.events(client, made)
        assert (
            "statefulset-controller",
            "SuccessfulCreate",
            "create Pod db-0 in StatefulSet db successful",
        ) in said

    def play(pod: Pod) -> str:
        return "wait" if pod.metadata.name in held else "run"

    workloads.tell(tmp_path, story, play=play)


def test_scale_down_goes_from_the_top_and_lost_pods_come_back_by_name(tmp_path: Path) -> None:
    """Scaled to 1, only db-0 stays; a deleted pod is made again under its name."""

    async def story(client: Client) -> None:
        await client.create(workloads.made(DB))

        async def have(*names: str) -> bool:
            found = [p.metadata.name for p in await plane.pods(client)]
            return sorted(await images(client)) == list(names) and len(found) == len(names)

        await plane.until(lambda: have("db-0", "db-1", "db-2"))
        old = (await client.get(Pod, "db-1", "shop")).metadata.uid
        await client.delete(Pod, "db-1", "shop")

        async def again() -> bool:
            found = {p.metadata.name: p.metadata.uid for p in await plane.pods(client)}
            return await have("db-0", "db-1", "db-2") and found["db-1"] != old

        await plane.until(again)
        await client.patch(StatefulSet, "db", "shop", {"spec": {"replicas": 1}})
        await plane.until(lambda: have("db-0"))

        async def counted() -> bool:
            state = (await client.get(StatefulSet, "db", "shop")).status
            return (state.replicas, state.ready_replicas, state.current_replicas) == (1, 1, 1)

        await plane.until(counted, "status")

    workloads.tell(tmp_path, story)


def test_update_goes_down_to_the_partition_and_then_to_the_end(tmp_path: Path) -> None:
    """With partition 2 only db-2 is updated; a lower pod that is lost comes back old; partition 0 finishes."""

    async def story(client: Client) -> None:
        await client.create(workloads.made(DB))

        async def have(*wanted: str) -> bool:
            found = await images(client)
            return [found.get(f"db-{n}") for n in range(3)] == list(wanted)

        async def at(revision: str, updated: int) -> bool:
            state = (await client.get(StatefulSet, "db", "shop")).status
            return state.current_revision == revision and state.updated_replicas == updated

        await plane.until(lambda: have("db:1", "db:1", "db:1"))
        first = (await client.get(StatefulSet, "db", "shop")).status.current_revision
        rolling = {"updateStrategy": {"rollingUpdate": {"partition": 2}}}
        await client.patch(StatefulSet, "db", "shop", {"spec": rolling})
        await roll(client, "db:2")
        await plane.until(lambda: have("db:1", "db:1", "db:2"))
        await plane.until(lambda: at(first, 1))
        await client.delete(Pod, "db-0", "shop")
        await plane.until(lambda: have("db:1", "db:1", "db:2"))
        rolling = {"updateStrategy": {"rollingUpdate": {"partition": 0}}}
        await client.patch(StatefulSet, "db", "shop", {"spec": rolling})
        await plane.until(lambda: have("db:2", "db:2", "db:2"))
        state = (await client.get(StatefulSet, "db", "shop")).status
        await plane.until(lambda: at(state.update_revision, 3))
        assert len((await client.list(ControllerRevision, "shop")).items) == 2

    workloads.tell(tmp_path, story)


def test_parallel_makes_all_at_once(tmp_path: Path) -> None:
    """podManagementPolicy Parallel waits for nobody."""

    async def story(client: Client) -> None:
        await client.create(workloads.made(DB + "  podManagementPolicy: Parallel"))

        async def three() -> bool:
            return len(await plane.pods(client)) == 3

        await plane.until(three)
        await client.patch(StatefulSet, "db", "shop", {"spec": {"replicas": 0}})

        async def none() -> bool:
            return not await plane.pods(client)

        await plane.until(none)

    workloads.tell(tmp_path, story, play=lambda _: "wait")


def test_ordinals_begin_where_they_are_told(tmp_path: Path) -> None:
    """With ordinals.start 5 there are db-5 and db-6; moving the start makes the new ones and takes the old away."""

    async def story(client: Client) -> None:
        await client.create(workloads.made(DB + "  ordinals: {start: 5}"))

        async def are(*numbers: int) -> bool:
            found = await plane.pods(client)
            state = (await client.get(StatefulSet, "db", "shop")).status
            return (
                sorted(p.metadata.name for p in found) == [f"db-{n}" for n in numbers]
                and state.ready_replicas == len(numbers)
                and all(
                    p.metadata.labels["apps.kubernetes.io/pod-index"]
                    == p.metadata.name.rpartition("-")[2]
                    for p in found
                )
            )

        await plane.until(lambda: are(5, 6, 7))
        stays = (await client.get(Pod, "db-6", "shop")).metadata.uid
        moved = {"replicas": 2, "ordinals": {"start": 6}}
        await client.patch(StatefulSet, "db", "shop", {"spec": moved})
        await plane.until(lambda: are(6, 7))
        await client.patch(StatefulSet, "db", "shop", {"spec": {"ordinals": {"start": 7}}})
        await plane.until(lambda: are(7, 8))
        await client.patch(StatefulSet, "db", "shop", {"spec": {"ordinals": {"start": 6}}})
        await plane.until(lambda: are(6, 7))
        assert (await client.get(Pod, "db-6", "shop")).metadata.uid != stays

    workloads.tell(tmp_path, story)


def test_the_partition_counts_from_ordinal_zero(tmp_path: Path) -> None:
    """Ordinals 5 to 7 with partition 6: db-6 and db-7 are updated; a partition above all of them holds all."""

    async def story(client: Client) -> None:
        rolling = "  updateStrategy: {rollingUpdate: {partition: 6}}"
        await client.create(workloads.made(f"{DB}  ordinals: {{start: 5}}\n{rolling}"))

        async def have(*wanted: str) -> bool:
            found = await images(client)
            return [found.get(f"db-{n}") for n in (5, 6, 7)] == list(wanted)

        await plane.until(lambda: have("db:1", "db:1", "db:1"))
        await roll(client, "db:2")
        await plane.until(lambda: have("db:1", "db:2", "db:2"))
        held = {"updateStrategy": {"rollingUpdate": {"partition": 8}}}
        await client.patch(StatefulSet, "db", "shop", {"spec": held})
        await roll(client, "db:3")

        async def seen() -> bool:
            found = await client.get(StatefulSet, "db", "shop")
            return found.status.observed_generation == found.metadata.generation

        await plane.until(seen)
        await plane.until(lambda: have("db:1", "db:2", "db:2"))

    workloads.tell(tmp_path, story)
