"""RBAC, impersonation, nodes, reviews and ServiceAccount tokens, over HTTP."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import orjson

from netpod.api import meta, registry
from netpod.api.rbac import PolicyRule
from netpod.apiserver import authorization, rbac_policy
from netpod.apiserver.authorization import Attributes
from netpod.apiserver.serviceaccounts import Tokens
from tests.unit.apiserver.support import Api, configmap, pod

Run = Callable[[Callable[[Api], Awaitable[None]]], None]
RBAC = "/apis/rbac.authorization.k8s.io/v1"
PODS = "/api/v1/namespaces/default/pods"
REVIEWS = "/apis/authorization.k8s.io/v1"


def acting(user: str, *groups: str) -> dict[str, str]:
    """Headers of a request on behalf of somebody."""
    return {"Impersonate-User": user, **({"Impersonate-Group": groups[0]} if groups else {})}


async def until(fact: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that follows a write."""
    async with asyncio.timeout(5):
        while not await fact():
            await asyncio.sleep(0.005)


async def bind(api: Api, user: str, role: str, namespace: str = "") -> None:
    """Give a ClusterRole to a user."""
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    await api.create(
        registry.by_kind("rbac.authorization.k8s.io/v1", kind).path(namespace),
        {
            "metadata": {"name": f"{user}-{role}".replace(":", "-")},
            "roleRef": {"kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": user}],
        },
    )


def test_a_rule_matches_as_upstreams() -> None:
    """Verbs, groups, resources with subresources, names, and paths with a star at their end."""
    rule = PolicyRule(
        verbs=("get",),
        api_groups=("apps",),
        resources=("deployments", "*/scale"),
        resource_names=("web",),
    )

    def get(resource: str, sub: str = "", name: str = "web", group: str = "apps") -> bool:
        wanted = Attributes(verb="get", group=group, resource=resource, subresource=sub, name=name)
        return authorization.matches(rule, wanted)

    assert get("deployments")
    assert get("statefulsets", "scale")
    assert not get("deployments", "status")
    assert not get("deployments", name="other")
    assert not get("deployments", name="")
    assert not get("deployments", group="")
    paths = PolicyRule(verbs=("get",), non_resource_urls=("/apis/*", "/metrics"))
    for path, allowed in (("/apis/x", True), ("/metrics", True), ("/metrics/x", False)):
        assert authorization.matches(paths, Attributes(verb="get", path=path)) is allowed
    names = [obj.metadata.name for obj in rbac_policy.objects()]
    assert {"cluster-admin", "admin", "edit", "view", "system:node", "system:discovery"} <= set(
        names
    )


def test_a_binding_holds_at_once_and_in_its_namespace(run: Run) -> None:
    """What a RoleBinding gives holds in its namespace only, and ends with it."""

    async def body(api: Api) -> None:
        jane = acting("jane")
        code, refused = await api("GET", PODS, headers=jane)
        assert (code, refused["message"]) == (
            403,
            'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the '
            'namespace "default"',
        )
        await bind(api, "jane", "view", "default")

        async def reads() -> bool:
            return (await api("GET", PODS, headers=jane))[0] == 200

        await until(reads)
        assert (await api("GET", "/api/v1/pods", headers=jane))[0] == 403
        assert (await api("GET", "/api/v1/namespaces/default/secrets", headers=jane))[0] == 403
        assert (await api("POST", PODS, pod("x"), headers=jane))[0] == 403
        await api("DELETE", f"{RBAC}/namespaces/default/rolebindings/jane-view")

        async def refuses() -> bool:
            return (await api("GET", PODS, headers=jane))[0] == 403

        await until(refuses)

    run(body)


def test_default_roles_cover_the_gateway_api(run: Run) -> None:
    """As of Ingresses: view reads, edit and admin write Gateways and routes, nobody of them classes or statuses."""

    async def body(api: Api) -> None:
        group = "gateway.networking.k8s.io"
        for role in ("view", "edit", "admin"):
            await bind(api, f"the-{role}", role)

        async def may(role: str, verb: str, resource: str, subresource: str = "") -> bool:
            wanted = {"group": group, "verb": verb, "resource": resource, "namespace": "default"}
            spec = {
                "user": f"the-{role}",
                "resourceAttributes": {**wanted, "subresource": subresource},
            }
            _, said = await api("POST", f"{REVIEWS}/subjectaccessreviews", {"spec": spec})
            return bool(said["status"]["allowed"])

        await until(lambda: may("admin", "list", "gateways"))
        for resource in ("gateways", "httproutes", "referencegrants"):
            got = [await may(role, verb, resource) for role in ("view", "edit", "admin")
                   for verb in ("list", "create")]  # fmt: skip
            assert got == [True, False, True, True, True, True], resource
        assert await may("view", "get", "gatewayclasses")
        assert not await may("admin", "create", "gatewayclasses")
        assert await may("view", "get", "httproutes", "status")
        assert not await may("edit", "patch", "httproutes", "status")

    run(body)


def test_an_answer_about_access_is_no_table(run: Run) -> None:
    """Who takes nothing but a table gets 406, as from any backend that has no columns."""

    async def body(api: Api) -> None:
        question = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
        path = f"{REVIEWS}/selfsubjectaccessreviews"
        table = "application/json;as=Table;v=v1;g=meta.k8s.io"
        code, refused = await api("POST", path, question, headers={"Accept": table})
        assert (code, refused["reason"]) == (406, "NotAcceptable")
        assert (await api("POST", path, question))[0] == 201

    run(body)


def test_an_aggregated_role_gathers_new_rules(run: Run) -> None:
    """A ClusterRole with the label of `view` widens everybody who has view, edit or admin."""

    async def body(api: Api) -> None:
        await bind(api, "jane", "admin")
        question = {
            "spec": {"resourceAttributes": {"verb": "get", "group": "x.dev", "resource": "things"}}
        }
        path = f"{REVIEWS}/selfsubjectaccessreviews"

        async def may() -> bool:
            _, answer = await api("POST", path, question, headers=acting("jane"))
            return bool(answer["status"]["allowed"])

        assert not await may()
        label = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
        rule = {"apiGroups": ["x.dev"], "resources": ["things"], "verbs": ["get"]}
        role = {"metadata": {"name": "things", "labels": label}, "rules": [rule]}
        await api.create(f"{RBAC}/clusterroles", role)
        await until(may)

    run(body)


def test_nobody_grants_what_he_has_not(run: Run) -> None:
    """An admin of a namespace may pass on what he has, and nothing more."""

    async def body(api: Api) -> None:
        await bind(api, "jane", "admin", "default")
        roles = f"{RBAC}/namespaces/default/roles"
        rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}

        async def grants() -> bool:
            role = {"metadata": {"generateName": "own-"}, "rules": [rule]}
            return (await api("POST", roles, role, headers=acting("jane")))[0] == 201

        await until(grants)
        more = {"metadata": {"name": "more"}, "rules": [{**rule, "resources": ["nodes"]}]}
        code, refused = await api("POST", roles, more, headers=acting("jane"))
        assert code == 403
        assert "attempting to grant RBAC permissions not currently held" in refused["message"]
        binding = {
            "metadata": {"name": "all"},
            "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "User", "name": "jane"}],
        }
        bindings = f"{RBAC}/namespaces/default/rolebindings"
        assert (await api("POST", bindings, binding, headers=acting("jane")))[0] == 403
        yaml = {**acting("jane"), "Content-Type": "application/yaml"}
        text = orjson.dumps(binding)
        assert (await api("POST", bindings, text, headers=yaml))[0] == 403
        other = {**binding, "subjects": [{"kind": "User", "name": "root"}]}
        await api.create(bindings, other)
        more_subjects = {"subjects": [{"kind": "User", "name": "jane"}]}
        code, _ = await api("PATCH", f"{bindings}/all", more_subjects, headers=acting("jane"))
        assert code == 403
        applying = {**acting("jane"), "Content-Type": "application/apply-patch+yaml"}
        fresh = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            **binding,
            "metadata": {"name": "fresh"},
        }
        query = {"fieldManager": "m"}
        code, _ = await api(
            "PATCH", f"{bindings}/fresh", orjson.dumps(fresh), headers=applying, **query
        )
        assert code == 403

    run(body)


def test_impersonation_is_itself_a_right(run: Run) -> None:
    """Who may not impersonate is told so; who may acts with the groups he names."""

    async def body(api: Api) -> None:
        reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        account = "system:serviceaccount:default:default"
        _, answer = await api("POST", reviews, {}, headers=acting(account))
        told = answer["status"]["userInfo"]
        assert told["username"] == account
        assert "system:serviceaccounts:default" in told["groups"]
        _, answer = await api("POST", reviews, {}, headers=acting("x", "system:masters"))
        assert answer["status"]["userInfo"]["groups"] == ["system:masters", "system:authenticated"]
        assert (await api("GET", PODS, headers={"Impersonate-Group": "x"}))[0] == 400

    run(body)


def test_reviews_answer_for_others(run: Run) -> None:
    """SubjectAccessReview, its local form, and the rules of a user."""

    async def body(api: Api) -> None:
        await bind(api, "jane", "view", "default")
        attributes = {"verb": "list", "resource": "pods", "namespace": "default"}
        spec = {"user": "jane", "resourceAttributes": attributes}

        async def may() -> bool:
            _, answer = await api("POST", f"{REVIEWS}/subjectaccessreviews", {"spec": spec})
            return bool(answer["status"]["allowed"])

        await until(may)
        local = f"{REVIEWS}/namespaces/default/localsubjectaccessreviews"
        code, answer = await api("POST", local, {"spec": spec})
        assert (code, answer["status"]["allowed"]) == (201, True)
        _, rules = await api(
            "POST",
            f"{REVIEWS}/selfsubjectrulesreviews",
            {"spec": {"namespace": "default"}},
            headers=acting("jane"),
        )
        assert any("pods" in r.get("resources", ()) for r in rules["status"]["resourceRules"])
        assert (await api("GET", f"{REVIEWS}/subjectaccessreviews"))[0] == 405

    run(body)


def test_a_token_stands_for_its_account(run: Run) -> None:
    """Requested, reviewed, refused for another audience, when bent, and when its pod is gone."""

    async def body(api: Api) -> None:
        path = "/api/v1/namespaces/default/serviceaccounts/default/token"
        made = await api.create(PODS, pod("p"))
        bound = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": made["metadata"]["uid"]}
        code, answer = await api("POST", path, {"spec": {"boundObjectRef": bound}})
        assert code == 201
        token = answer["status"]["token"]

        async def review(token: str, *audiences: str) -> Any:
            spec = {"token": token, **({"audiences": list(audiences)} if audiences else {})}
            url = "/apis/authentication.k8s.io/v1/tokenreviews"
            return (await api("POST", url, {"spec": spec}))[1]["status"]

        told = await review(token)
        assert told.get("authenticated")
        assert told["user"]["username"] == "system:serviceaccount:default:default"
        assert told["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
        assert not (await review(token, "elsewhere")).get("authenticated")
        head, claims, signature = token.split(".")
        data = orjson.loads(base64.urlsafe_b64decode(claims + "=="))
        data["sub"] = "system:serviceaccount:kube-system:default"
        bent = base64.urlsafe_b64encode(orjson.dumps(data)).rstrip(b"=").decode()
        assert not (await review(f"{head}.{bent}.{signature}")).get("authenticated")
        assert not (await review("a.b.c")).get("authenticated")
        code, _ = await api("POST", path, {"spec": {"expirationSeconds": 5}})
        assert code == 422
        await api("DELETE", f"{PODS}/p")
        assert not (await review(token)).get("authenticated")
        keys = await api.get("/openid/v1/jwks")
        assert keys["keys"][0]["alg"] == "ES256"

    run(body)


def test_a_token_ends_in_time(run: Run) -> None:
    """After its expiry a token is worth nothing."""

    async def body(api: Api) -> None:
        path = "/api/v1/namespaces/default/serviceaccounts/default/token"
        api.server.writer.now = lambda: meta.now() - timedelta(hours=2)
        _, answer = await api("POST", path, {})
        expires: datetime = meta.parse_timestamp(answer["status"]["expirationTimestamp"])
        assert expires < meta.now()
        tokens: Tokens = api.server._access.tokens
        assert await tokens.verify(answer["status"]["token"]) is None
        assert (await api("GET", PODS, headers={"Impersonate-User": "x"}))[0] == 403
        await api.create("/api/v1/namespaces/default/configmaps", configmap("c"))

    run(body)
