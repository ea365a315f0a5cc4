"""Bodies in protobuf: what kubectl and client-go send, every kind we have, and bytes that are no message."""

import base64
import dataclasses
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import pytest

from netpod import errors
from netpod.api import codec, meta, registry
from netpod.apiserver import protobuf
from tests.unit.apiserver.support import DEPLOYMENTS, SERVICES, Api

Run = Callable[[Callable[[Api], Awaitable[None]]], None]
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SENT = {"Content-Type": protobuf.MEDIA}
RECORDED = {
    name: base64.b64decode(text)
    for name, text in {
        "deployment": (
            "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50ErIBCh8KA3dlYhIAGgAiACoAMgA4AEIAWgoKA2FwcBIDd2ViEoAB"
            "CAASDAoKCgNhcHASA3dlYhpmChwKABIAGgAiACoAMgA4AEIAWgoKA2FwcBIDd2ViEkYSKAoBeBIDeDoxKgAyCgoA"
            "EAAYUCIAKgBCAGoAcgCAAQCIAQCQAQCiAQAaADIAQgBKAFIAWABgAGgAggEAigEAmgEAwgEAIgIKACgAOAAaDAgA"
            "EAAYACAAKAA4ABoAIgA="
        ),
        "ingress": (
            "azhzAAofChRuZXR3b3JraW5nLms4cy5pby92MRIHSW5ncmVzcxJvChQKBG1hZGUSABoAIgAqADIAOABCABJTEhEK"
            "DG1hZGUuZXhhbXBsZRIBdBo2CgxtYWRlLmV4YW1wbGUSJgokCiIKBS9wYXRoEhEiDwoDd2ViEggKBGh0dHAQABoG"
            "UHJlZml4IgZuZXRwb2QaAgoAGgAiAA=="
        ),
        "secret": ("azhzAAoMCgJ2MRIGU2VjcmV0Eh0KEQoBcxIAGgAiACoAMgA4AEIAEgYKAWESAWIaABoAIgA="),
        "resourcequota": (
            "azhzAAoTCgJ2MRINUmVzb3VyY2VRdW90YRIwChEKAXESABoAIgAqADIAOABCABIZCgoKA2NwdRIDCgExCgsKBHBv"
            "ZHMSAwoBMxoAGgAiAA=="
        ),
        "service": (
            "azhzAAoNCgJ2MRIHU2VydmljZRJtCiEKBG5vZGUSABoAIgAqADIAOABCAFoLCgNhcHASBG5vZGUSRAodCgc4MC04"
            "MDgwEgNUQ1AYUCIHCAAQkD8aACiX8gESCwoDYXBwEgRub2RlGgAiCE5vZGVQb3J0OgBCAFIAWgBgAGgAGgIKABoA"
            "IgA="
        ),
        "poddisruptionbudget": (
            "azhzAAogCglwb2xpY3kvdjESE1BvZERpc3J1cHRpb25CdWRnZXQSPAoTCgN3ZWISABoAIgAqADIAOABCABIZEgwK"
            "CgoDYXBwEgN3ZWIaCQgBEAAaAzUwJRoKCAAYACAAKAAwABoAIgA="
        ),
        "cronjob": (
            "azhzAAoTCghiYXRjaC92MRIHQ3JvbkpvYhKVAQoRCgFuEgAaACIAKgAyADgAQgASfgoGQGRhaWx5GgAqcgoRCgFu"
            "EgAaACIAKgAyADgAQgASXTJbChAKABIAGgAiACoAMgA4AEIAEkcSIAoBbhIBeBoEdHJ1ZSoAQgBqAHIAgAEAiAEA"
            "kAEAogEAGglPbkZhaWx1cmUyAEIASgBSAFgAYABoAIIBAIoBAJoBAMIBABoAGgAiAA=="
        ),
        "customresourcedefinition": (
            "azhzAAozChdhcGlleHRlbnNpb25zLms4cy5pby92MRIYQ3VzdG9tUmVzb3VyY2VEZWZpbml0aW9uEscDCiAKEGh1ZX"
            "MuZXhhbXBsZS5jb20SABoAIgAqADIAOABCABKUAwoLZXhhbXBsZS5jb20aDwoEaHVlcxIAIgNIdWUqACIKTmFtZXNw"
            "YWNlZDrlAgoCdjEQARgBItQCCtECCgASACIAKgZvYmplY3QyADoAUABgAHoAkAEA6gGpAgoEc3BlYxKgAgoAEgAiAC"
            "oGb2JqZWN0MgA6AFAAYAB6AJABAOoBXwoFbmFtZXMSVgoAEgAiACoFYXJyYXkyADoAUABgAHoAkAEAwgEwCi4KABIA"
            "IgAqBnN0cmluZzIAOgBQAGAAegCQAQCiAQcKBSJyZWQiqAIAuAIAwAIAqAIAuAIAwAIA6gFHCgVzaGFyZRI+CgASAC"
            "IAKgZudW1iZXIyADoAQgYKBDAuMjVJAAAAAAAA4D9QAFkAAAAAAAAAAGAAegCQAQCoAgC4AgDAAgDyASgIARIkCgAS"
            "ACIAKgZzdHJpbmcyADoAUABgAHoAkAEAqAIAuAIAwAIAqAIAuAIAwAIA4gIiChBzZWxmLnNoYXJlID4gMC4xEgp0b2"
            "8gbGl0dGxlGgAqAKgCALgCAMACACoCCgA4AFAAGgwSCAoAEgAiACoAIAAaACIA"
        ),
    }.items()
}
"""Bodies that kubectl 1.33.1 sent, e.g. for `create deployment web --image=x:1 --port=80 --replicas=0`; the last is
what client-go 0.36.4 made of the definition in the test below."""


def test_what_kubectl_sends_is_read() -> None:
    """Zero that is said stays, as in `replicas: 0`; maps, durations of either kind, nested and inlined messages."""
    found = protobuf.decode(RECORDED["deployment"])
    container = {"name": "x", "image": "x:1", "ports": [{"containerPort": 80}], "resources": {}}
    labels = {"app": "web"}
    assert found == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            "strategy": {},
        },
        "status": {},
    }
    rule = protobuf.decode(RECORDED["ingress"])["spec"]["rules"][0]
    assert rule["host"] == "made.example"
    backend = {"service": {"name": "web", "port": {"name": "http"}}}
    assert rule["http"]["paths"] == [{"path": "/path", "pathType": "Prefix", "backend": backend}]
    assert protobuf.decode(RECORDED["secret"])["data"] == {"a": "Yg=="}
    hard = {"cpu": "1", "pods": "3"}
    assert protobuf.decode(RECORDED["resourcequota"])["spec"]["hard"] == hard
    ports = protobuf.decode(RECORDED["service"])["spec"]["ports"]
    assert (ports[0]["targetPort"], ports[0]["nodePort"]) == (8080, 30999)
    assert protobuf.decode(RECORDED["poddisruptionbudget"])["spec"]["maxUnavailable"] == "50%"
    job = protobuf.decode(RECORDED["cronjob"])["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert (job["restartPolicy"], job["containers"][0]["command"]) == ("OnFailure", ["true"])


def test_a_custom_kinds_definition_is_read() -> None:
    """Schemas within schemas, what is an object or a boolean, numbers with and without a fraction, JSON in bytes."""
    schema = {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "properties": {
            "share": {"type": "number", "minimum": 0, "maximum": 0.5, "default": 0.25},
            "names": {"type": "array", "items": {"type": "string", "enum": ["red"]}},
        },
        "x-kubernetes-validations": [{"rule": "self.share > 0.1", "message": "too little"}],
    }
    found = protobuf.decode(RECORDED["customresourcedefinition"])
    (version,) = found["spec"]["versions"]
    whole = version["schema"]["openAPIV3Schema"]
    assert whole == {"type": "object", "properties": {"spec": schema}}
    assert version["subresources"] == {"status": {}}
    assert found["spec"]["names"] == {"plural": "hues", "kind": "Hue"}


def test_schemas_nest_only_so_deep() -> None:
    """A schema contains itself, so a few bytes could nest deeper than any stack."""

    def nested(levels: int) -> bytes:
        body = b""
        for _ in range(levels):
            body = _whole(28, body)
        about = _text("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        version = _whole(4, _whole(1, body))
        return b"k8s\0" + _whole(1, about) + _whole(2, _whole(2, _whole(7, version)))

    within = protobuf.decode(nested(150))["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for _ in range(150):
        within = within["not"]
    for levels in (300, 5_000):
        with pytest.raises(errors.BadRequest, match="nests deeper than 200 levels"):
            protobuf.decode(nested(levels))


def test_it_is_served_like_json(run: Run) -> None:
    """Created, refused with the same words, and deleted with options in protobuf."""

    async def body(api: Api) -> None:
        code, made = await api("POST", DEPLOYMENTS, RECORDED["deployment"], headers=SENT)
        assert (code, made["spec"]["replicas"]) == (201, 0)
        assert made["spec"]["strategy"]["type"] == "RollingUpdate"
        code, made = await api("POST", SERVICES, RECORDED["service"], headers=SENT)
        assert (code, made["spec"]["ports"][0]["nodePort"]) == (201, 30999)
        bad = RECORDED["service"].replace(b"80-8080", b"80_8080").replace(b"node", b"mode")
        code, why = await api("POST", SERVICES, bad, headers=SENT)
        assert (code, why["details"]["causes"][0]["field"]) == (422, "spec.ports[0].name")
        code, why = await api("POST", SERVICES, RECORDED["secret"], headers=SENT)
        assert code == 400
        code, made = await api(
            "POST", DEFINITIONS, RECORDED["customresourcedefinition"], headers=SENT
        )
        assert (code, made["spec"]["names"]["listKind"]) == (201, "HueList")
        options = b"k8s\0" + _field(1, _text("v1", "DeleteOptions")) + _field(2, b"\x08\x00")
        code, why = await api("DELETE", f"{DEPLOYMENTS}/web", options, headers=SENT)
        assert code == 200, why

    run(body)


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def _whole(number: int, value: bytes) -> bytes:
    """A field of any number and length."""
    return _number(number << 3 | 2) + _number(len(value)) + value


def _number(value: int) -> bytes:
    made = b""
    while value > 0x7F:
        made, value = made + bytes([value & 0x7F | 0x80]), value >> 7
    return made + bytes([value])


def _text(*values: str) -> bytes:
    return b"".join(_field(number, value.encode()) for number, value in enumerate(values, 1))


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_bent_bytes_are_the_clients_mistake(name: str) -> None:
    """Every beginning of a body, and every byte of it another, is read or refused: never an error of ours."""
    whole = RECORDED[name]
    bent = [whole[:end] for end in range(len(whole))]
    bent += [whole[:at] + bytes([whole[at] ^ 0x7F]) + whole[at + 1 :] for at in range(len(whole))]
    for body in bent:
        try:
            assert isinstance(protobuf.decode(body), dict)
        except (errors.BadRequest, errors.UnsupportedMediaType):
            pass


def test_only_schemas_contain_themselves() -> None:
    """So bytes of all other kinds cannot nest as deep as they are many."""
    known = protobuf.messages()

    def within(name: str, above: tuple[str, ...]) -> None:
        if "JSONSchemaProps" in name and name in above:
            return
        assert name not in above
        for field in known[name].values():
            if "." in field.type:
                within(field.type, (*above, name))

    for name in known:
        within(name, ())


def test_times_are_read() -> None:
    """Whole seconds, microseconds, and none at all."""
    # 2024-01-01T00:00:00Z and a quarter of a second.
    seconds = b"\x08" + _number(1704067200)
    lease = _field(2, _field(3, seconds + b"\x10" + _number(250_000_000)))
    about = _field(1, _text("coordination.k8s.io/v1", "Lease"))
    metadata = _field(1, _field(8, seconds) + _field(9, b""))
    found = protobuf.decode(b"k8s\0" + about + _field(2, metadata + lease))
    assert found["metadata"] == {"creationTimestamp": "2024-01-01T00:00:00Z"}
    assert found["spec"] == {"acquireTime": "2024-01-01T00:00:00.250000Z"}


SHARED = ("networking/v1.IngressLoadBalancerIngress.ipMode",)
"""Fields that only one has of those that share our class: a Service's status."""

BUILT_IN = [it for it in registry.RESOURCES if it.group != "gateway.networking.k8s.io"]
"""Kinds that upstream has in protobuf; the others are custom kinds there, and sent as JSON."""


@pytest.mark.parametrize("resource", BUILT_IN, ids=lambda it: it.kind)
def test_every_field_of_ours_has_a_number(resource: registry.Resource) -> None:
    """What a manifest can say in JSON it can say in protobuf: by the same names, down to the last message."""
    group = resource.group.partition(".")[0] or "core"
    missing = list(_missing(f"{group}/{resource.version}.{resource.kind}", resource.cls, set()))
    assert not missing


# meta.Condition stands for all conditions and has every field that one of them has.
def _missing(message: str, cls: type, seen: set[str]) -> Iterator[str]:
    if message in seen:
        return
    seen.add(message)
    known = _flat(protobuf.messages()[message])
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        name = item.metadata.get("json") or codec.json_name(item.name)
        if item.name == "unknown" or (
            name in ("apiVersion", "kind") and issubclass(cls, meta.Object)
        ):
            continue
        if cls is meta.Condition or f"{message}.{name}" in SHARED:
            continue
        if name not in known:
            yield f"{message}.{name}"
            continue
        for part in _structs(hints[item.name]):
            if "." in known[name].type:
                yield from _missing(known[name].type, part, seen)


def _flat(message: Mapping[int, protobuf.Field]) -> dict[str, protobuf.Field]:
    found = {}
    for field in message.values():
        if field.name == "-":
            found |= _flat(protobuf.messages()[field.type])
        else:
            found[field.name] = field
    return found


def _structs(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for part in typing.get_args(hint):
        yield from _structs(part)
