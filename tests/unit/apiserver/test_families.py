"""Address families of Services: on clusters of one and of both, on create and on update."""

import asyncio
import dataclasses
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from netpod.apiserver.server import ApiServerConfig
from tests.unit.apiserver.support import CONFIG, SERVICES, Api, Json, service, serving

FOUR, SIX = "10.96.0.0/16", "fd00:10:96::/112"
IPV4, IPV6, DUAL, TURNED = [FOUR], [SIX], [FOUR, SIX], [SIX, FOUR]
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
HEADLESS = {"clusterIP": "None"}
PLAIN = {"selector": None}


def config(networks: Sequence[str]) -> ApiServerConfig:
    """A cluster with these Service networks."""
    return dataclasses.replace(CONFIG, service_cidrs=tuple(map(ip_network, networks)))


def asked(folder: Path, networks: Sequence[str], *steps: Any) -> list[Json]:
    """Send each step's spec, the first as POST and the others as PATCH; return status codes and answers."""

    async def body(api: Api) -> list[Json]:
        answers = [await api("POST", SERVICES, service("web", **steps[0]))]
        for change in steps[1:]:
            answers.append(await api("PATCH", f"{SERVICES}/web", {"spec": change}))
        return answers

    async def run() -> list[Json]:
        async with asyncio.timeout(20), serving(folder, config(networks)) as api:
            return await body(api)

    return asyncio.run(run())


def shape(answer: Json) -> tuple[str, list[str], list[str]]:
    """Policy, families, and the families of the cluster IPs."""
    code, found = answer
    assert code in (200, 201), found
    spec = found["spec"]
    assert spec["clusterIP"] == spec["clusterIPs"][0]
    kinds = [
        "None" if it == "None" else "IPv6" if ":" in it else "IPv4" for it in spec["clusterIPs"]
    ]
    return spec["ipFamilyPolicy"], spec["ipFamilies"], kinds


@pytest.mark.parametrize(
    ("networks", "spec", "policy", "families"),
    [
        (IPV4, {}, SINGLE, ["IPv4"]),
        (IPV6, {}, SINGLE, ["IPv6"]),
        (DUAL, {}, SINGLE, ["IPv4"]),
        (TURNED, {}, SINGLE, ["IPv6"]),
        (IPV4, {"ipFamilyPolicy": PREFER}, PREFER, ["IPv4"]),
        (DUAL, {"ipFamilyPolicy": PREFER}, PREFER, ["IPv4", "IPv6"]),
        (TURNED, {"ipFamilyPolicy": REQUIRE}, REQUIRE, ["IPv6", "IPv4"]),
        (DUAL, {"ipFamilies": ["IPv6"]}, SINGLE, ["IPv6"]),
        (DUAL, {"ipFamilies": ["IPv6"], "ipFamilyPolicy": REQUIRE}, REQUIRE, ["IPv6", "IPv4"]),
        (DUAL, {"clusterIP": "fd00:10:96::9"}, SINGLE, ["IPv6"]),
        (
            DUAL,
            {
                "clusterIP": "fd00:10:96::9",
                "clusterIPs": ["fd00:10:96::9", "10.96.0.9"],
                "ipFamilyPolicy": PREFER,
            },
            PREFER,
            ["IPv6", "IPv4"],
        ),
    ],
)
def test_a_new_service_gets_an_address_of_each_of_its_families(
    tmp_path: Path, networks: list[str], spec: Json, policy: str, families: list[str]
) -> None:
    """The cluster's families, the policy and what was named decide; an address of each family is given."""
    (answer,) = asked(tmp_path, networks, spec)
    assert shape(answer) == (policy, families, families)


@pytest.mark.parametrize(
    ("networks", "spec", "policy", "families"),
    [
        (DUAL, HEADLESS, SINGLE, ["IPv4"]),
        (DUAL, {**HEADLESS, "ipFamilyPolicy": PREFER}, PREFER, ["IPv4", "IPv6"]),
        (IPV4, {**HEADLESS, **PLAIN}, REQUIRE, ["IPv4", "IPv6"]),
        (IPV4, {**HEADLESS, **PLAIN, "ipFamilyPolicy": SINGLE}, SINGLE, ["IPv4"]),
    ],
)
def test_a_headless_service_has_families_without_addresses(
    tmp_path: Path, networks: list[str], spec: Json, policy: str, families: list[str]
) -> None:
    """Without a selector it has both, for whoever writes its endpoints may know of both."""
    (answer,) = asked(tmp_path, networks, spec)
    assert shape(answer) == (policy, families, ["None"])


@pytest.mark.parametrize(
    ("networks", "spec", "message"),
    [
        (
            IPV4,
            {"ipFamilyPolicy": REQUIRE},
            'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
            "this cluster is not configured for dual-stack services",
        ),
        (
            IPV4,
            {"ipFamilies": ["IPv6"]},
            'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster',
        ),
        (
            IPV4,
            {"clusterIP": "fd00::9"},
            'spec.clusterIPs[0]: Invalid value: []string{"fd00::9"}: '
            "IPv6 is not configured on this cluster",
        ),
        (
            DUAL,
            {"ipFamilies": ["IPv4", "IPv6"]},
            'spec.ipFamilyPolicy: Invalid value: "SingleStack": '
            "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
        ),
        (
            DUAL,
            {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "fd00:10:96::9"]},
            'spec.ipFamilyPolicy: Invalid value: "SingleStack": '
            "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified",
        ),
        (
            DUAL,
            {
                "clusterIP": "10.96.0.9",
                "clusterIPs": ["10.96.0.9", "10.96.0.10"],
                "ipFamilyPolicy": PREFER,
            },
            "may specify no more than one IP for each IP family",
        ),
        (
            DUAL,
            {"clusterIP": "fd00:10:97::9"},
            "the provided IP (fd00:10:97::9) is not in the valid range. "
            "The range of valid IPs is fd00:10:96::/112",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_in_upstreams_words(
    tmp_path: Path, networks: list[str], spec: Json, message: str
) -> None:
    """The field, what was found, and why not."""
    ((code, found),) = asked(tmp_path, networks, spec)
    assert code == 422
    assert message in found["message"]


def test_the_policy_adds_the_second_address_and_takes_it_back(tmp_path: Path) -> None:
    """The first address stays through both; the second is free for others afterwards."""
    answers = asked(
        tmp_path,
        DUAL,
        {},
        {"ipFamilyPolicy": PREFER},
        {"sessionAffinity": "ClientIP"},
        {"ipFamilyPolicy": SINGLE},
        {"ipFamilyPolicy": REQUIRE, "clusterIPs": None, "ipFamilies": None},
    )
    assert [shape(it)[1] for it in answers] == [
        ["IPv4"],
        ["IPv4", "IPv6"],
        ["IPv4", "IPv6"],
        ["IPv4"],
        ["IPv4", "IPv6"],
    ]
    assert len({it[1]["spec"]["clusterIP"] for it in answers}) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"clusterIPs": ["10.96.0.9"]},
            "must be 'SingleStack' to release the secondary cluster IP",
        ),
        ({"ipFamilies": ["IPv4"]}, "must be 'SingleStack' to release the secondary IP family"),
        ({"ipFamilies": ["IPv6", "IPv4"]}, "spec.ipFamilies[0]: Invalid value"),
        ({"clusterIPs": ["10.96.0.9", "fd00:10:96::8"]}, "spec.clusterIPs[1]: Invalid value"),
        ({"clusterIPs": ["10.96.0.8", "fd00:10:96::9"]}, "first value must match `clusterIP`"),
    ],
)
def test_what_may_not_change_does_not(tmp_path: Path, change: Json, message: str) -> None:
    """Neither the order of the families, nor an address; the second goes by the policy's word alone."""
    addresses = ["10.96.0.9", "fd00:10:96::9"]
    made = {"clusterIP": addresses[0], "clusterIPs": addresses, "ipFamilyPolicy": PREFER}
    _, (code, found) = asked(tmp_path, DUAL, made, change)
    assert code == 422
    assert message in found["message"]


def test_addresses_of_both_families_are_given_back(tmp_path: Path) -> None:
    """A deleted Service's addresses can be chosen by another."""

    async def run() -> None:
        addresses = ["10.96.0.9", "fd00:10:96::9"]
        chosen = {"clusterIP": addresses[0], "clusterIPs": addresses, "ipFamilyPolicy": PREFER}
        async with asyncio.timeout(20), serving(tmp_path, config(DUAL)) as api:
            await api.create(SERVICES, service("a", **chosen))
            code, found = await api("POST", SERVICES, service("b", clusterIP="fd00:10:96::9"))
            assert code == 422
            assert "provided IP is already allocated" in found["message"]
            await api("DELETE", f"{SERVICES}/a")
            await api.create(SERVICES, service("b", **chosen))

    asyncio.run(run())
