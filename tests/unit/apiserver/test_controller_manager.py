"""What upstream's controller manager brings with it: an account for each controller, and tokens in Secrets.

Source: cmd/kube-controller-manager/app/core.go; pkg/controller/serviceaccount/tokens_controller.go;
pkg/serviceaccount/legacy.go.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from netpod.apiserver import rbac_controllers
from netpod.apiserver.serviceaccounts import LEGACY_ISSUER, Tokens
from tests.unit.apiserver.support import Api

Run = Callable[[Callable[[Api], Awaitable[None]]], None]
SECRETS = "/api/v1/namespaces/default/secrets"
ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
CONTROLLERS = tuple(
    it.metadata.name.removeprefix(rbac_controllers.PREFIX) for it in rbac_controllers.objects()
)[::2]


def acting(controller: str) -> dict[str, str]:
    """Headers of a request as a controller's account."""
    return {"Impersonate-User": f"system:serviceaccount:kube-system:{controller}"}


@pytest.mark.parametrize(
    ("controller", "allowed", "refused"),
    [
        ("deployment-controller", "/apis/apps/v1/replicasets", "/api/v1/secrets"),
        ("endpointslice-controller", "/apis/discovery.k8s.io/v1/endpointslices", "/api/v1/secrets"),
        ("cronjob-controller", "/apis/batch/v1/jobs", "/api/v1/nodes"),
        ("node-controller", "/api/v1/nodes", "/api/v1/services"),
        ("generic-garbage-collector", "/api/v1/secrets", ""),
    ],
)
def test_each_controller_is_an_account(
    run: Run, controller: str, allowed: str, refused: str
) -> None:
    """With --use-service-account-credentials a controller may do its work, and nothing else."""

    async def body(api: Api) -> None:
        assert (await api("GET", allowed, headers=acting(controller)))[0] == 200
        if refused:
            assert (await api("GET", refused, headers=acting(controller)))[0] == 403
        about = {"kind": "Pod", "namespace": "default", "name": "p", "apiVersion": "v1"}
        event = {"metadata": {"name": "p.1"}, "involvedObject": about, "reason": "Tried"}
        path = "/api/v1/namespaces/default/events"
        code, said = await api("POST", path, event, headers=acting(controller))
        assert code == 201, said

    run(body)


def test_the_manager_gets_its_controllers_tokens(run: Run) -> None:
    """It makes the accounts that are missing, and asks for a token of each."""

    async def body(api: Api) -> None:
        manager = {"Impersonate-User": "system:kube-controller-manager"}
        accounts = "/api/v1/namespaces/kube-system/serviceaccounts"
        for name in CONTROLLERS:
            made = {"metadata": {"name": name}}
            assert (await api("POST", accounts, made, headers=manager))[0] == 201
            wanted = {"spec": {"expirationSeconds": 3600}}
            code, _ = await api("POST", f"{accounts}/{name}/token", wanted, headers=manager)
            assert code == 201

    run(body)


async def _secret(api: Api, tokens: Tokens) -> tuple[str, Any]:
    """A Secret as the tokens controller makes it, and the token in it."""
    uid = (await api.get(ACCOUNT))["metadata"]["uid"]
    prefix = "kubernetes.io/serviceaccount/"
    claims = {
        "iss": LEGACY_ISSUER,
        f"{prefix}namespace": "default",
        f"{prefix}secret.name": "default-token-abcde",
        f"{prefix}service-account.name": "default",
        f"{prefix}service-account.uid": uid,
        "sub": "system:serviceaccount:default:default",
    }
    token = tokens.signer.sign(claims)
    about = {"kubernetes.io/service-account.name": "default"}
    about["kubernetes.io/service-account.uid"] = uid
    body = {
        "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "default-token-abcde", "annotations": about},
        "data": {"token": base64.b64encode(token.encode()).decode()},
    }
    return token, await api.create(SECRETS, body)


def test_a_token_in_a_secret_is_good_while_it_is_there(run: Run) -> None:
    """Another that the same key signed is not, nor is this one for another audience, or once the Secret is gone."""

    async def body(api: Api) -> None:
        tokens: Tokens = api.server._access.tokens
        token, _ = await _secret(api, tokens)

        async def review(token: str, *audiences: str) -> Any:
            spec = {"token": token, **({"audiences": list(audiences)} if audiences else {})}
            return (await api("POST", REVIEWS, {"spec": spec}))[1]["status"]

        told = await review(token)
        assert told.get("authenticated")
        assert told["user"]["username"] == "system:serviceaccount:default:default"
        assert "system:serviceaccounts:default" in told["user"]["groups"]
        assert not (await review(token, "elsewhere")).get("authenticated")
        prefix = "kubernetes.io/serviceaccount/"
        other = tokens.signer.sign(
            {**tokens.signer._verified[token], f"{prefix}secret.name": "none"}
        )
        assert not (await review(other)).get("authenticated")
        # ECDSA signs the same claims otherwise each time; only what the Secret holds counts.
        again = tokens.signer.sign(tokens.signer._verified[token])
        assert again != token
        assert not (await review(again)).get("authenticated")
        await api("DELETE", f"{SECRETS}/default-token-abcde")
        assert not (await review(token)).get("authenticated")

    run(body)


def test_a_token_in_a_secret_ends_with_its_account(run: Run) -> None:
    """An account that was made again is another."""

    async def body(api: Api) -> None:
        tokens: Tokens = api.server._access.tokens
        token, _ = await _secret(api, tokens)
        await api("DELETE", ACCOUNT)
        assert await tokens.verify(token) is None
        where = ACCOUNT.rpartition("/")[0]
        async with asyncio.timeout(5):
            await api.create(where, {"metadata": {"name": "default"}})
        assert await tokens.verify(token) is None

    run(body)
