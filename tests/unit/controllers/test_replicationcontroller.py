"""ReplicationControllers against the real API server."""

from pathlib import Path

from netpod.api.workloads import ReplicationController
from netpod.client.rest import Client
from tests.unit.controllers import plane, workloads

OLD = """
apiVersion: v1
kind: ReplicationController
metadata: {name: old}
spec:
  replicas: 3
  template:
    metadata: {labels: {app: old}}
    spec: {containers: [{name: c, image: "old:1"}]}
"""


def test_replication_controller_keeps_its_number(tmp_path: Path) -> None:
    """Three pods, then one; events come from replication-controller."""

    async def story(client: Client) -> None:
        made = await client.create(workloads.made(OLD))

        async def settled(number: int) -> bool:
            state = (await client.get(ReplicationController, "old", "shop")).status
            found = await plane.pods(client)
            counts = (state.replicas, state.ready_replicas, state.available_replicas, len(found))
            return counts == (number,) * 4

        await plane.until(lambda: settled(3))
        await client.patch(ReplicationController, "old", "shop", {"spec": {"replicas": 1}})
        await plane.until(lambda: settled(1))
        said = await workloads.events(client, made)
        assert {component for component, _, _ in said} == {"replication-controller"}

    workloads.tell(tmp_path, story)
