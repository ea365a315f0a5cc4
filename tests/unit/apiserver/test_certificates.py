"""CertificateSigningRequests: who asks, who may approve and sign, and what each of them may change.

Source: test/e2e/auth/certificates.go; pkg/registry/certificates/certificates.
"""

import base64
import dataclasses
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from netpod.api import meta
from netpod.api.certificates import CertificateSigningRequest, CertificateSigningRequestSpec
from netpod.apiserver import certify, pki
from netpod.errors import NetpodError
from tests.unit.apiserver.requests import signing_request
from tests.unit.apiserver.support import Api

Run = Callable[[Callable[[Api], Awaitable[None]]], None]
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
CLIENT = "kubernetes.io/kube-apiserver-client"
JANE = {"Impersonate-User": "jane", "Impersonate-Group": "dev"}
MANAGER = {"Impersonate-User": "system:kube-controller-manager"}
MERGE = {"Content-Type": "application/merge-patch+json"}


def asked(name: str = "r", **spec: Any) -> dict[str, Any]:
    """A request for a client's certificate."""
    plain = {"request": signing_request(), "signerName": CLIENT, "usages": ["client auth"]}
    return {"metadata": {"name": name}, "spec": {**plain, **spec}}


def approved(found: dict[str, Any], kind: str = "Approved") -> dict[str, Any]:
    """The object with a condition."""
    condition = {"type": kind, "status": "True", "reason": "Tested"}
    return {**found, "status": {"conditions": [condition]}}


async def allow(api: Api, user: str, *rules: dict[str, Any]) -> None:
    """Let a user do something everywhere."""
    await api.create(f"{RBAC}/clusterroles", {"metadata": {"name": user}, "rules": list(rules)})
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}
    who = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    body = {"metadata": {"name": user}, "roleRef": ref, "subjects": [who]}
    await api.create(f"{RBAC}/clusterrolebindings", body)


def may(*verbs: str, resource: str = "certificatesigningrequests", name: str = "") -> Any:
    """A rule of RBAC."""
    rule = {"apiGroups": ["certificates.k8s.io"], "resources": [resource], "verbs": list(verbs)}
    return {**rule, "resourceNames": [name]} if name else rule


def test_a_request_says_who_made_it(run: Run) -> None:
    """Whatever he writes: name and groups are those the API server saw, and what is wanted never changes."""

    async def body(api: Api) -> None:
        await allow(api, "jane", may("create", "get", "update"))
        said = asked(username="admin", groups=["system:masters"])
        code, made = await api("POST", REQUESTS, said, headers=JANE)
        assert code == 201, made
        assert made["spec"]["username"] == "jane"
        assert made["spec"]["groups"] == ["dev", "system:authenticated"]
        made["spec"]["signerName"] = "example.com/other"
        made["metadata"]["labels"] = {"a": "b"}
        code, found = await api("PUT", f"{REQUESTS}/r", made, headers=JANE)
        assert (code, found["spec"]["signerName"]) == (200, CLIENT)
        assert found["metadata"]["labels"] == {"a": "b"}
        for signer, count in ((CLIENT, 1), ("example.com/a", 0)):
            listed = await api.get(REQUESTS, fieldSelector=f"spec.signerName={signer}")
            assert len(listed["items"]) == count
        table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        _, shown = await api("GET", REQUESTS, headers=table)
        assert shown["rows"][0]["cells"][2:] == [CLIENT, "jane", "<none>", "Pending"]

    run(body)


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        ({"request": "bm9uZQ=="}, 422, "spec.request: Invalid value: PEM block type must be"),
        ({"request": ""}, 422, "spec.request: Required value"),
        ({"usages": []}, 422, "spec.usages: Required value"),
        ({"usages": ["flying"]}, 422, 'spec.usages[0]: Unsupported value: "flying"'),
        ({"signerName": "mine"}, 422, "must be a fully qualified domain and path"),
        ({"signerName": "mine/x"}, 422, "should be a domain with at least two segments"),
        ({"expirationSeconds": 60}, 422, "may not specify a duration less than 600 seconds"),
        ({"request": signing_request("x", "system:masters")}, 403, "system:masters group is not"),
    ],
)
def test_what_is_no_request_is_refused(
    run: Run, spec: dict[str, Any], code: int, message: str
) -> None:
    """In upstream's words."""

    async def body(api: Api) -> None:
        found, said = await api("POST", REQUESTS, asked(**spec))
        assert (found, message in said["message"]) == (code, True), said

    run(body)


def test_only_who_may_approves(run: Run) -> None:
    """It takes the verb approve on the request's signer, or on all of its domain, besides the subresource."""

    async def body(api: Api) -> None:
        made = await api.create(REQUESTS, asked())
        approval = f"{REQUESTS}/r/approval"
        writes = may("get", "update", "patch", resource="certificatesigningrequests/approval")
        for user, domain in (("ann", "example.com/*"), ("bob", "kubernetes.io/*"), ("cem", CLIENT)):
            await allow(api, user, writes, may("approve", resource="signers", name=domain))
            code, said = await api(
                "PUT", approval, approved(made), headers={"Impersonate-User": user}
            )
            if user == "ann":
                assert code == 403
                assert f'not permitted to approve requests with signerName "{CLIENT}"' in str(said)
                continue
            assert code == 200, said
            made = said
        condition = made["status"]["conditions"][0]
        assert condition["lastUpdateTime"] == condition["lastTransitionTime"]
        for part in ("approval", "status"):
            noted = {**made["metadata"], "annotations": {"by": part}}
            code, made = await api("PUT", f"{REQUESTS}/r/{part}", {**made, "metadata": noted})
            assert (code, made["metadata"]["annotations"]) == (200, {"by": part})
        code, said = await api("PUT", approval, {**made, "status": {"conditions": []}})
        assert code == 422
        assert 'may not remove a condition of type "Approved"' in said["message"]
        both = {**made, "status": {"conditions": [condition, {**condition, "type": "Denied"}]}}
        code, said = await api("PUT", approval, both)
        assert (code, "mutually exclusive" in said["message"]) == (422, True)

    run(body)


def test_a_signer_signs_and_approves_nothing(run: Run) -> None:
    """The certificate comes by the status, once; conditions of approval stay as they are there."""

    async def body(api: Api) -> None:
        made = await api.create(REQUESTS, asked())
        status = f"{REQUESTS}/r/status"
        code, found = await api("PUT", status, approved(made), headers=MANAGER)
        assert code == 200
        assert not found.get("status")
        made["metadata"]["annotations"] = {"looked": "at"}
        _, found = await api("PUT", f"{REQUESTS}/r/approval", approved(made))
        assert found["metadata"]["annotations"] == {"looked": "at"}
        certificate = base64.b64encode(b"signed").decode()
        noted = {"annotations": {"signed": "today"}}
        signed = {"metadata": noted, "status": {"certificate": certificate}}
        code, found = await api("PATCH", status, signed, headers={**MERGE, **MANAGER})
        assert code == 200, found
        assert found["status"]["certificate"] == certificate
        assert found["metadata"]["annotations"] == {"looked": "at", "signed": "today"}
        assert [it["type"] for it in found["status"]["conditions"]] == ["Approved"]
        other = {"status": {"certificate": base64.b64encode(b"other").decode()}}
        code, said = await api("PATCH", status, other, headers={**MERGE, **MANAGER})
        assert (code, "may not modify existing certificate" in said["message"]) == (422, True)
        await allow(api, "eve", may("patch", resource="certificatesigningrequests/status"))
        code, said = await api("PATCH", status, other, headers={**MERGE, "Impersonate-User": "eve"})
        assert (code, "not permitted to sign" in said["message"]) == (403, True)

    run(body)


def _signed(folder: Path, **spec: Any) -> dict[str, Any]:
    """What a certificate says that our authority made of a request."""
    wanted = CertificateSigningRequestSpec(
        request=spec.pop("request", signing_request()),
        signer_name=spec.pop("signer_name", CLIENT),
        usages=tuple(spec.pop("usages", ("client auth", "digital signature"))),
    )
    request = CertificateSigningRequest(spec=dataclasses.replace(wanted, **spec))
    authority = pki.Authority(folder, meta.now())
    file = folder / "made.crt"
    file.write_bytes(certify.sign(authority, request))
    decode: Callable[[str], dict[str, Any]] = ssl._ssl._test_decode_cert  # type: ignore[attr-defined]
    return decode(str(file))


def test_what_is_signed_is_what_was_asked(tmp_path: Path) -> None:
    """Subject, names and lifetime; a year at most."""
    found = _signed(tmp_path, request=signing_request("jane", "dev"), expiration_seconds=3600)
    assert found["subject"] == ((("organizationName", "dev"),), (("commonName", "jane"),))
    assert found["issuer"] == ((("commonName", "netpod-ca"),),)
    lives = ssl.cert_time_to_seconds(found["notAfter"]) - ssl.cert_time_to_seconds(
        found["notBefore"]
    )
    assert 3600 <= lives <= 3600 + 600
    node = signing_request("system:node:w", "system:nodes", host="w")
    serving = "kubernetes.io/kubelet-serving"
    found = _signed(tmp_path, request=node, signer_name=serving, usages=["server auth"])
    assert found["subjectAltName"] == (("DNS", "w"),)
    with pytest.raises(NetpodError, match="usages did not match"):
        _signed(tmp_path, usages=["server auth"])
    with pytest.raises(NetpodError, match="organization is not system:nodes"):
        _signed(tmp_path, signer_name=serving, usages=["server auth"])


def test_whoever_was_signed_is_let_in(tmp_path: Path) -> None:
    """The bytes are a certificate of the authority, by the requested key."""
    from cryptography import x509

    _signed(tmp_path, usages=["client auth"])
    made = x509.load_pem_x509_certificate((tmp_path / "made.crt").read_bytes())
    ca = x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes())
    made.verify_directly_issued_by(ca)
    request = x509.load_pem_x509_csr(base64.b64decode(signing_request()))
    assert made.public_key() == request.public_key()
    assert made.not_valid_after_utc <= ca.not_valid_after_utc
    # Naming none of a key's usages forbids none: a client's certificate without them would be no client's.
    with pytest.raises(x509.ExtensionNotFound):
        made.extensions.get_extension_for_class(x509.KeyUsage)
