"""The metrics API, served from what nodes tell."""

from collections.abc import Awaitable, Callable
from typing import Any

from netpod.apiserver import history
from netpod.apiserver.history import History
from netpod.apiserver.measures import STALE_SECONDS, Measures
from tests.unit.apiserver.support import PODS, Api, pod

Run = Callable[[Callable[[Api], Awaitable[None]]], None]
STATS = "/apis/stats.netpod.dev/v1/nodestats"
METRICS = "/apis/metrics.k8s.io/v1beta1"
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"disk": "ssd"}}}


def _usage(cpu: int, memory: int, **more: Any) -> dict[str, Any]:
    return {
        "cpu": {"usageNanoCores": cpu, "usageCoreNanoSeconds": cpu},
        "memory": {"workingSetBytes": memory},
        **more,
    }


def _told(*uids: str) -> dict[str, Any]:
    pods = [
        {
            "podRef": {"namespace": "default", "name": uid, "uid": uid},
            "containers": [_usage(250_000_000, 5 << 20, name="c")],
            **_usage(250_000_000, 5 << 20),
        }
        for uid in uids
    ]
    return {"node": _usage(1_500_000_000, 100 << 20), "pods": pods}


async def _tell(api: Api) -> str:
    await api.create("/api/v1/nodes", NODE)
    made = await api.create(PODS, pod("p", node="n1", labels={"app": "web"}))
    await api.create(PODS, pod("silent", node="n1"))
    uid = str(made["metadata"]["uid"])
    code, answer = await api("PUT", f"{STATS}/n1", _told(uid))
    assert code == 200, answer
    return uid


def test_pod_metrics_carry_the_pods_labels(run: Run) -> None:
    """kubectl top -l and the HorizontalPodAutoscaler select by labels; a pod nobody measured is left out."""

    async def body(api: Api) -> None:
        await _tell(api)
        found = (await api.get(f"{METRICS}/pods", labelSelector="app=web"))["items"]
        assert [item["metadata"]["name"] for item in found] == ["p"]
        assert found[0]["containers"] == [
            {"name": "c", "usage": {"cpu": "250000000n", "memory": "5120Ki"}}
        ]
        assert (await api.get(f"{METRICS}/pods", labelSelector="app!=web"))["items"] == []
        code, answer = await api("GET", f"{METRICS}/namespaces/default/pods/silent")
        assert (code, answer["message"]) == (404, 'pods.metrics.k8s.io "silent" not found')

    run(body)


def test_node_metrics_are_those_of_nodes_that_told(run: Run) -> None:
    """A node without a kubelet has none."""

    async def body(api: Api) -> None:
        await _tell(api)
        await api.create("/api/v1/nodes", {**NODE, "metadata": {"name": "n2"}})
        found = (await api.get(f"{METRICS}/nodes"))["items"]
        assert [(i["metadata"]["name"], i["usage"]["cpu"]) for i in found] == [
            ("n1", "1500000000n")
        ]
        assert found[0]["metadata"]["labels"] == {"disk": "ssd"}

    run(body)


def test_a_table_has_metrics_servers_columns(run: Run) -> None:
    """`kubectl get pods.metrics.k8s.io` prints millicores and KiB."""

    async def body(api: Api) -> None:
        await _tell(api)
        headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        _, table = await api("GET", f"{METRICS}/namespaces/default/pods", headers=headers)
        assert table["rows"][0]["cells"] == ["p", "250m", "5120Ki", "15s"]

    run(body)


def test_a_summary_that_is_none_is_refused(run: Run) -> None:
    """It says what is wrong, and what was told before stands."""

    async def body(api: Api) -> None:
        await _tell(api)
        for bad in ({}, {"node": {}, "pods": {}}, {"node": {}, "pods": [{}]}):
            code, answer = await api("PUT", f"{STATS}/n1", bad)
            assert code == 400, answer
        code, answer = await api("PUT", f"{STATS}/nobody", _told())
        assert (code, answer["reason"]) == (404, "NotFound")
        assert len((await api.get(f"{METRICS}/pods"))["items"]) == 1

    run(body)


def test_a_node_tells_only_of_itself(run: Run) -> None:
    """NodeRestriction holds for what is measured too."""

    async def body(api: Api) -> None:
        await _tell(api)
        headers = {"Impersonate-User": "system:node:n2", "Impersonate-Group": "system:nodes"}
        code, answer = await api("PUT", f"{STATS}/n1", _told(), headers=headers)
        assert code == 403, answer
        headers["Impersonate-User"] = "system:node:n1"
        code, answer = await api("PUT", f"{STATS}/n1", _told(), headers=headers)
        assert code == 200, answer

    run(body)


def test_what_was_told_long_ago_is_no_metric(run: Run) -> None:
    """Nobody scales by the last words of a dead node."""

    async def body(api: Api) -> None:
        now = [0.0]
        server = api.server
        server._measures = Measures(server._storage, lambda: now[0])
        await _tell(api)
        now[0] = STALE_SECONDS + 1
        assert (await api.get(f"{METRICS}/pods"))["items"] == []
        assert (await api.get(f"{METRICS}/nodes"))["items"] == []

    run(body)


def test_history_is_served_in_columns(run: Run) -> None:
    """Times and four columns of the node and of each pod it has."""

    async def body(api: Api) -> None:
        uid = await _tell(api)
        found = await api.get(f"{STATS}/n1/history")
        assert len(found["times"]) == 1
        assert found["usage"]["cpu"] == [1500.0]
        assert [(p["uid"], p["memory"]) for p in found["pods"]] == [(uid, [5120.0])]

    run(body)


def test_history_keeps_a_quarter_of_an_hour_and_no_more() -> None:
    """The ring turns: the oldest sample goes, a pod that is gone goes, a new one has gaps before."""
    kept = History()
    for i in range(history.SAMPLES + 3):
        pods = {"old": {"podRef": {"uid": "old"}, **_usage(0, i << 10)}} if i < 10 else {}
        if i >= history.SAMPLES:
            pods = {"new": {"podRef": {"uid": "new"}, **_usage(0, i << 10)}}
        kept.add(float(i), _usage(i * 1_000_000, 0), pods)
    shown = kept.shown()
    assert shown["times"] == [float(i) for i in range(3, history.SAMPLES + 3)]
    assert shown["usage"]["cpu"] == shown["times"]
    (new,) = shown["pods"]
    assert new["memory"] == [None] * (history.SAMPLES - 3) + [60.0, 61.0, 62.0]


def test_traffic_is_a_rate_and_a_restart_no_negative_one() -> None:
    """300 bytes in 15 seconds are 20 a second; a counter that begins anew is no traffic."""
    kept = History()
    for at, received in ((0.0, 100), (15.0, 400), (30.0, 10)):
        kept.add(at, _usage(0, 0, network={"rxBytes": received, "txBytes": 0}), {})
    assert kept.shown()["usage"]["rx"] == [0.0, 20.0, 0.0]


def test_a_user_who_may_not_read_metrics_is_refused(run: Run) -> None:
    """`kubectl top` needs a right like any other read."""

    async def body(api: Api) -> None:
        headers = {"Impersonate-User": "nobody"}
        code, _ = await api("GET", f"{METRICS}/pods", headers=headers)
        assert code == 403

    run(body)
