"""What a namespace's ServiceAccounts, LimitRanges and ResourceQuotas do to what is created in it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.unit.apiserver.support import PODS, SERVICES, Api, configmap, pod, service

Run = Callable[[Callable[[Api], Awaitable[None]]], None]
LIMITS = "/api/v1/namespaces/default/limitranges"
QUOTAS = "/api/v1/namespaces/default/resourcequotas"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


def limits(**item: Any) -> dict[str, Any]:
    """A LimitRange of one item."""
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "l"},
        "spec": {"limits": [{"type": "Container", **item}]},
    }


def quota(name: str = "q", *, scopes: Any = None, **hard: str) -> dict[str, Any]:
    """A ResourceQuota; `__` in a name stands for a dot."""
    spec: dict[str, Any] = {"hard": {k.replace("__", "."): v for k, v in hard.items()}}
    if scopes:
        spec["scopes"] = scopes
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": name},
        "spec": spec,
    }


def sized(name: str, requests: Any = None, maximum: Any = None) -> dict[str, Any]:
    """A pod whose container asks for something."""
    made = pod(name)
    found = {"requests": requests, "limits": maximum}
    made["spec"]["containers"][0]["resources"] = {k: v for k, v in found.items() if v}
    return made


async def refused(api: Api, path: str, body: Any, code: int = 403) -> str:
    """What the server says that refuses to create."""
    found, told = await api("POST", path, body)
    assert found == code, told
    return str(told["message"])


def test_pods_get_their_accounts_token(run: Run) -> None:
    """A volume with token, authority and namespace, mounted where clients look for it."""

    async def body(api: Api) -> None:
        made = await api.create(PODS, pod("one"))
        (volume,) = made["spec"]["volumes"]
        assert volume["name"].startswith("kube-api-access-")
        assert len(volume["name"]) == len("kube-api-access-") + 5
        sources = volume["projected"]["sources"]
        assert [next(iter(source)) for source in sources] == [
            "serviceAccountToken",
            "configMap",
            "downwardAPI",
        ]
        assert sources[0]["serviceAccountToken"] == {"expirationSeconds": 3607, "path": "token"}
        mount = {"name": volume["name"], "readOnly": True, "mountPath": PATH}
        assert made["spec"]["containers"][0]["volumeMounts"] == [mount]
        assert made["spec"]["serviceAccountName"] == "default"
        # What was read can be put back, and applied again.
        code, again = await api("PUT", f"{PODS}/one", made)
        assert (code, again) == (200, made)

    run(body)


def test_who_gets_no_token(run: Run) -> None:
    """The pod's word wins over its account's, and a mount of the author's own stays."""

    async def body(api: Api) -> None:
        mean = {"metadata": {"name": "mean"}, "automountServiceAccountToken": False}
        await api.create(ACCOUNTS, mean)

        def of(name: str, **spec: Any) -> dict[str, Any]:
            made = pod(name)
            made["spec"].update(spec)
            return made

        for made, has in (
            (of("a", automountServiceAccountToken=False), False),
            (of("b", serviceAccountName="mean"), False),
            (of("c", serviceAccountName="mean", automountServiceAccountToken=True), True),
        ):
            found = await api.create(PODS, made)
            assert ("volumes" in found["spec"]) == has
        own = of("d", volumes=[{"name": "mine", "emptyDir": {}}])
        own["spec"]["containers"][0]["volumeMounts"] = [{"name": "mine", "mountPath": PATH}]
        found = await api.create(PODS, own)
        assert [v["name"] for v in found["spec"]["volumes"]] == ["mine"]
        told = await refused(api, PODS, of("e", serviceAccountName="nobody"))
        assert told == (
            'pods "e" is forbidden: error looking up service account default/nobody: '
            'serviceaccount "nobody" not found'
        )

    run(body)


def test_a_new_namespace_has_its_account_at_once(run: Run) -> None:
    """The first pod of a namespace does not race with whoever makes the default account."""

    async def body(api: Api) -> None:
        await api.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
        made = await api.create("/api/v1/namespaces/shop/pods", pod("one"))
        assert made["spec"]["serviceAccountName"] == "default"
        found = await api.get("/api/v1/namespaces/shop/serviceaccounts/default")
        assert found["metadata"]["uid"]

    run(body)


def test_limit_range_fills_in(run: Run) -> None:
    """What a container does not say comes from the LimitRange, and an annotation says what that was."""

    async def body(api: Api) -> None:
        await api.create(LIMITS, limits(default={"cpu": "1"}, max={"memory": "1Gi"}))
        made = await api.create(PODS, pod("one"))
        found = made["spec"]["containers"][0]["resources"]
        assert found["limits"] == {"cpu": "1", "memory": "1Gi"}
        assert found["requests"] == {"cpu": "1", "memory": "1Gi"}
        assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
            "LimitRanger plugin set: cpu, memory request for container c; "
            "cpu, memory limit for container c"
        )
        assert made["status"]["qosClass"] == "Guaranteed"

    run(body)


@pytest.mark.parametrize(
    ("item", "requests", "maximum", "words"),
    [
        (
            {"max": {"cpu": "1"}},
            None,
            {"cpu": "2"},
            "maximum cpu usage per Container is 1, but limit is 2",
        ),
        (
            {"min": {"memory": "64Mi"}},
            {"memory": "32Mi"},
            None,
            "minimum memory usage per Container is 64Mi, but request is 32Mi",
        ),
        (
            {"type": "Pod", "max": {"cpu": "1"}},
            None,
            None,
            "maximum cpu usage per Pod is 1.  No limit is specified",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"cpu": "100m"},
            {"cpu": "500m"},
            "cpu max limit to request ratio per Container is 2, but provided ratio is 5.000000",
        ),
        (
            {"min": {"cpu": "1"}, "max": {"memory": "1Gi"}},
            {"cpu": "1m"},
            {"memory": "2Gi"},
            "[minimum cpu usage per Container is 1, but request is 1m, "
            "maximum memory usage per Container is 1Gi, but limit is 2Gi]",
        ),
    ],
)
def test_limit_range_refuses(
    run: Run, item: dict[str, Any], requests: Any, maximum: Any, words: str
) -> None:
    """Too little, too much, or too far apart, in upstream's words."""

    async def body(api: Api) -> None:
        await api.create(LIMITS, limits(**item))
        told = await refused(api, PODS, sized("one", requests, maximum))
        assert told == f'pods "one" is forbidden: {words}'

    run(body)


def test_what_is_created_is_counted_at_once(run: Run) -> None:
    """In the status that a controller has begun; it counts again only when something goes, or every five minutes."""

    async def body(api: Api) -> None:
        made = await api.create(QUOTAS, quota(pods="4", **{"requests.memory": "4Gi"}))
        await api.create(PODS, sized("zero", {"memory": "1Mi"}, {}))
        assert not (await api.get(f"{QUOTAS}/q")).get("status", {}).get("used")
        hard = made["spec"]["hard"]
        begun = {"status": {"hard": hard, "used": {"pods": "1"}}}
        merge = {"Content-Type": "application/merge-patch+json"}
        await api("PATCH", f"{QUOTAS}/q/status", begun, headers=merge)
        await api.create(PODS, sized("one", {"memory": "512Mi"}, {}))
        code, _ = await api("POST", f"{PODS}?dryRun=All", sized("dry", {"memory": "1Gi"}, {}))
        assert code == 201
        assert (await api.get(f"{QUOTAS}/q"))["status"]["used"] == {"pods": "2"}
        begun["status"]["used"]["requests.memory"] = "513Mi"
        await api("PATCH", f"{QUOTAS}/q/status", begun, headers=merge)
        await api.create(PODS, sized("two", {"memory": "511Mi"}, {}))
        used = (await api.get(f"{QUOTAS}/q"))["status"]["used"]
        assert used == {"pods": "3", "requests.memory": "1Gi"}

    run(body)


def test_quota_counts_objects(run: Run) -> None:
    """One more than allowed is refused with what was asked, used and allowed; a deletion makes room."""

    async def body(api: Api) -> None:
        await api.create(QUOTAS, quota(pods="2", configmaps="1", **{"count/secrets": "0"}))
        for name in ("one", "two"):
            await api.create(PODS, pod(name))
        told = await refused(api, PODS, pod("three"))
        assert told == (
            'pods "three" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, '
            "limited: pods=2"
        )
        await api("DELETE", f"{PODS}/one")
        await api.create(PODS, pod("three"))
        await api.create(CONFIGMAPS, configmap("one"))
        assert "used: configmaps=1" in await refused(api, CONFIGMAPS, configmap("two"))
        secrets = CONFIGMAPS.replace("configmaps", "secrets")
        told = await refused(api, secrets, {"metadata": {"name": "s"}})
        assert "requested: count/secrets=1, used: count/secrets=0, limited: count/secrets=0" in told
        # Elsewhere nothing is limited.
        await api.create("/api/v1/namespaces/kube-public/configmaps", configmap("one"))

    run(body)


def test_quota_counts_amounts(run: Run) -> None:
    """Requests and limits add up over pods; who does not name them is told which container should."""

    async def body(api: Api) -> None:
        await api.create(QUOTAS, quota(requests__cpu="1", limits__memory="1Gi"))
        told = await refused(api, PODS, pod("one"))
        assert told == (
            'pods "one" is forbidden: failed quota: q: must specify limits.memory for: c; '
            "requests.cpu for: c"
        )
        await api.create(PODS, sized("one", {"cpu": "600m"}, {"memory": "512Mi"}))
        told = await refused(api, PODS, sized("two", {"cpu": "500m"}, {"memory": "768Mi"}))
        assert told == (
            'pods "two" is forbidden: exceeded quota: q, '
            "requested: limits.memory=768Mi,requests.cpu=500m, "
            "used: limits.memory=512Mi,requests.cpu=600m, limited: limits.memory=1Gi,requests.cpu=1"
        )

    run(body)


def test_quota_of_scopes_and_services(run: Run) -> None:
    """A quota may be about some pods only; Services are judged again when they change their type."""

    async def body(api: Api) -> None:
        await api.create(QUOTAS, quota("best", scopes=["BestEffort"], pods="1"))
        await api.create(QUOTAS, quota("ports", services__nodeports="1"))
        await api.create(PODS, pod("one"))
        assert "exceeded quota: best" in await refused(api, PODS, pod("two"))
        await api.create(PODS, sized("two", {"cpu": "1"}))
        await api.create(SERVICES, service("first", type="NodePort"))
        await api.create(SERVICES, service("second"))
        code, told = await api("PATCH", f"{SERVICES}/second", {"spec": {"type": "NodePort"}})
        assert code == 403
        assert "exceeded quota: ports, requested: services.nodeports=1" in told["message"]

    run(body)


def test_quota_holds_against_a_crowd(run: Run) -> None:
    """Of many writers at once exactly as many get in as there is room."""

    async def body(api: Api) -> None:
        await api.create(QUOTAS, quota(pods="7"))
        answers = await asyncio.gather(
            *(api("POST", PODS, pod(f"p{number}")) for number in range(40))
        )
        codes = [code for code, _ in answers]
        assert (codes.count(201), codes.count(403)) == (7, 33)

    run(body)
