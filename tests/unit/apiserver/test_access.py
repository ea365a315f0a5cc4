"""Who gets in and what they may do; TLS, certificates and kubeconfig; discovery."""

import asyncio
import base64
import socket
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import yaml

from netpod import errors
from netpod.apiserver import authorization, pki, routes
from netpod.apiserver.server import ApiServer, Listener
from netpod.store.sqlite import SqliteStore
from tests.unit.apiserver.support import (
    CONFIG,
    CONFIGMAPS,
    DEPLOYMENTS,
    Api,
    configmap,
    deployment,
)

Run = Callable[[Callable[[Api], Awaitable[None]]], None]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def with_tls(
    folder: Path, body: Callable[[ApiServer, str, pki.Authority], Awaitable[None]]
) -> None:
    """A server on a TLS port of 127.0.0.1."""
    authority = pki.Authority(folder / "pki", datetime.now(UTC))
    listening = socket.create_server(("127.0.0.1", 0))
    store = await SqliteStore.open(folder / "store.db")
    server = ApiServer(store, CONFIG)
    tls = authority.server_context(pki.server_names([]))
    ready = asyncio.Event()
    try:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            task = group.create_task(server.serve([Listener(socket=listening, tls=tls)], ready))
            await ready.wait()
            await body(server, f"https://127.0.0.1:{listening.getsockname()[1]}", authority)
            task.cancel()
    finally:
        await store.close()


def client_context(authority: pki.Authority, pair: pki.Pair | None) -> ssl.SSLContext:
    """TLS of a client that trusts the CA and shows a certificate, or none."""
    context = ssl.create_default_context(cadata=authority.ca_pem.decode())
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    return context


def test_only_who_we_know_gets_in(tmp_path: Path) -> None:
    """No credentials: only health and version. Certificates and tokens give users, groups decide."""

    async def body(server: ApiServer, base: str, authority: pki.Authority) -> None:
        stranger = pki.Authority(tmp_path / "other", datetime.now(UTC))

        async def ask(
            path: str, pair: pki.Pair | None = None, token: str = "", method: str = "GET"
        ) -> int:
            connector = aiohttp.TCPConnector(ssl=client_context(authority, pair))
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with aiohttp.ClientSession(connector=connector) as session:
                data = {"json": configmap("a")} if method == "POST" else {}
                async with session.request(method, base + path, headers=headers, **data) as answer:
                    return answer.status

        for path in ("/healthz", "/livez", "/readyz", "/version"):
            assert await ask(path) == 200
        for path in ("/api", "/api/v1/pods", "/openapi/v2", "/nonsense"):
            assert await ask(path) == 401
            assert await ask(path, token="guessed") == 401
        admin = authority.client("admin", "kubernetes-admin", ["system:masters"])
        assert await ask(CONFIGMAPS, admin, method="POST") == 201
        assert await ask("/nonsense", admin) == 404
        nobody = authority.client("nobody", "nobody")
        assert await ask("/api", nobody) == 200
        assert await ask(CONFIGMAPS, nobody) == 403
        assert await ask(CONFIGMAPS, token="view") == 200
        assert await ask("/api/v1/secrets", token="view") == 403
        assert await ask(CONFIGMAPS, token="view", method="POST") == 403
        assert await ask(CONFIGMAPS, token="add-on") == 200
        assert await ask(CONFIGMAPS, token="add-on", method="POST") == 403
        try:
            code = await ask(CONFIGMAPS, stranger.client("admin", "x", ["system:masters"]))
        except aiohttp.ClientError:
            code = 0
        assert code == 0, "a certificate of another authority ends the connection"

    asyncio.run(with_tls(tmp_path, body))


def test_forbidden_says_who_wanted_what() -> None:
    """The message names user, verb, resource, group and namespace as upstream's does."""
    route = routes.parse("POST", "/apis/apps/v1/namespaces/x/deployments", {})
    with pytest.raises(errors.Forbidden) as caught:
        raise authorization.forbidden(CONFIG.tokens["add-on"], authorization.of_route(route))
    assert str(caught.value) == (
        'deployments.apps is forbidden: User "system:serviceaccount:kube-system:ingress" cannot '
        'create resource "deployments" in API group "apps" in the namespace "x"'
    )


def test_keys_are_kept_private_and_renewed(tmp_path: Path) -> None:
    """Keys are 0600 in a 0700 folder; a certificate is kept while it serves, renewed when near its end."""
    folder = tmp_path / "pki"
    authority = pki.Authority(folder, NOW)
    names = pki.server_names([])
    first = authority.server(names).certificate.read_bytes()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    again = pki.Authority(folder, NOW + timedelta(days=100))
    assert again.ca_pem == authority.ca_pem
    assert again.server(names).certificate.read_bytes() == first
    assert again.server([*names, "192.0.2.7"]).certificate.read_bytes() != first
    client = again.client("admin", "a", ["g"]).certificate.read_bytes()
    assert again.client("admin", "a", ["g"]).certificate.read_bytes() == client
    late = pki.Authority(folder, NOW + timedelta(days=420))
    assert late.client("admin", "a", ["g"]).certificate.read_bytes() != client
    (folder / "admin.crt").write_text("damaged")
    late.client("admin", "a", ["g"])


def test_a_kubeconfig_has_everything_inside(tmp_path: Path) -> None:
    """Server, CA and the user's certificate and key are embedded, the context chosen."""
    authority = pki.Authority(tmp_path, NOW)
    client = authority.client("admin", "kubernetes-admin", ["system:masters"])
    text = pki.kubeconfig(
        cluster="netpod",
        server="https://127.0.0.1:6443",
        ca_pem=authority.ca_pem,
        user="kubernetes-admin",
        client=client,
    )
    data = yaml.safe_load(text)
    assert data["current-context"] == "netpod"
    cluster = data["clusters"][0]["cluster"]
    assert base64.b64decode(cluster["certificate-authority-data"]) == authority.ca_pem
    user = data["users"][0]["user"]
    assert base64.b64decode(user["client-key-data"]) == client.key.read_bytes()


def test_discovery_lists_every_resource(run: Run) -> None:
    """Groups, versions, verbs, short names and categories are there for clients to find."""

    async def body(api: Api) -> None:
        assert (await api.get("/api"))["versions"] == ["v1"]
        groups = {group["name"] for group in (await api.get("/apis"))["groups"]}
        assert {"apps", "networking.k8s.io", "discovery.k8s.io"} <= groups
        core = {r["name"]: r for r in (await api.get("/api/v1"))["resources"]}
        assert core["pods"]["shortNames"] == ["po"]
        assert core["pods"]["categories"] == ["all"]
        assert core["pods/binding"]["verbs"] == ["create"]
        assert not core["nodes"]["namespaced"]
        apps = {r["name"]: r for r in (await api.get("/apis/apps/v1"))["resources"]}
        assert apps["deployments/scale"]["kind"] == "Scale"
        assert (await api.get("/apis/apps"))["preferredVersion"]["version"] == "v1"
        assert (await api.get("/version"))["gitVersion"].startswith("v1.")
        for path in ("/apis/apps/v9", "/api/v1/nothing", "/api/v2/pods"):
            code, status = await api("GET", path)
            assert (code, status["reason"], status["details"]) == (404, "NotFound", {})
        for path in ("/apis/none", "/apis/none/v1", "/x"):
            assert await api("GET", path) == (404, b"404 page not found\n")
        for method, path in (
            ("PUT", CONFIGMAPS),
            ("POST", f"{CONFIGMAPS}/a"),
            ("DELETE", "/api"),
        ):
            code, status = await api(method, path)
            assert (code, status["reason"]) == (405, "MethodNotAllowed")

    run(body)


def test_old_kubectl_gets_openapi_as_protobuf(run: Run) -> None:
    """The document in the encoding kubectl 1.20 insists on, JSON for everybody else."""

    async def body(api: Api) -> None:
        wanted = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
        code, data = await api("GET", "/openapi/v2", headers={"Accept": wanted})
        assert (code, data[:5]) == (200, b"\x0a\x032.0")
        found = await api.get("/openapi/v2")
        assert found["swagger"] == "2.0"

    run(body)


def test_the_objects_every_cluster_has(run: Run) -> None:
    """Four namespaces with their ServiceAccounts, and default/kubernetes with its endpoints."""

    async def body(api: Api) -> None:
        names = {n["metadata"]["name"] for n in (await api.get("/api/v1/namespaces"))["items"]}
        assert names == {"default", "kube-system", "kube-public", "kube-node-lease"}
        accounts = (await api.get("/api/v1/serviceaccounts"))["items"]
        assert {a["metadata"]["namespace"] for a in accounts} == names
        found = await api.get("/api/v1/namespaces/default/endpoints/kubernetes")
        assert found["subsets"][0]["addresses"][0]["ip"] == "172.18.0.2"
        path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
        assert (await api.get(path))["endpoints"][0]["addresses"] == ["172.18.0.2"]

    run(body)


def test_a_scale_reads_as_a_table(run: Run) -> None:
    """`kubectl get deploy web --subresource=scale`: what is wanted and what there is; JSON for everybody else."""

    async def body(api: Api) -> None:
        await api.create(DEPLOYMENTS, deployment("web", 3))
        path = f"{DEPLOYMENTS}/web/scale"
        accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
        code, made = await api("GET", path, headers=accept)
        names = [column["name"] for column in made["columnDefinitions"]]
        assert (code, names) == (200, ["Name", "Desired", "Available", "Age"])
        assert made["rows"][0]["cells"][:3] == ["web", 3, 0]
        plain = await api.get(path)
        assert (plain["kind"], plain["spec"], plain["apiVersion"]) == (
            "Scale",
            {"replicas": 3},
            "autoscaling/v1",
        )

    run(body)
