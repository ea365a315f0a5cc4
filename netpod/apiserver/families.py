"""Which address families a Service has, and how it goes from one to two and back (pure).

Nothing is added to a Service or taken from it without its author's word, which is `ipFamilyPolicy`: a PreferDualStack
Service keeps what it has when it is updated for other reasons.

Source: kubernetes pkg/registry/core/service/storage/alloc.go initIPFamilyFields, storage.go patchAllocatedValues.
"""

import dataclasses
from collections.abc import Sequence
from ipaddress import ip_address

from netpod.api.service import Service, ServiceSpec
from netpod.apiserver import status
from netpod.errors import FieldError
from netpod.ip import Family

NONE = "None"
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
_OTHER = {Family.IPV4: Family.IPV6, Family.IPV6: Family.IPV4}


def settle(old: Service | None, new: Service, configured: Sequence[Family]) -> ServiceSpec:
    """Return the spec with policy and families; cluster IPs that it is to get are still missing.

    Args:
        old: What is stored, None when the Service is created.
        new: What is asked for; already defaulted, with what it keeps, and validated.
        configured: Families that the cluster has Service networks of, the default one first.

    Raises:
        Invalid: the families cannot be had, or contradict the addresses or the policy.
    """
    spec = new.spec
    if spec.type == "ExternalName":
        return dataclasses.replace(spec, cluster_ip="", cluster_ips=())
    before = old.spec if old is not None and old.spec.type != "ExternalName" else None
    if before is not None and _keeps_preference(before, spec):
        return spec
    selectorless = spec.cluster_ip == NONE and not spec.selector
    if not spec.ip_family_policy:
        policy = before.ip_family_policy if before is not None else ""
        policy = policy or (REQUIRE if selectorless else SINGLE)
        spec = dataclasses.replace(spec, ip_family_policy=policy)
    problems: list[FieldError] = []
    if before is not None:
        spec = _reduced(before, spec, problems)
    if spec.ip_family_policy == SINGLE:
        said = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
        if len(spec.cluster_ips) == 2:
            problems.append(_policy(spec, said.format("cluster IPs")))
        if len(spec.ip_families) == 2:
            problems.append(_policy(spec, said.format("IP families")))
    spec = _inferred(spec, configured, problems)
    _raise(new, problems)
    if selectorless:
        families = spec.ip_families or tuple(configured[:1])
        if len(families) < 2 and spec.ip_family_policy != SINGLE:
            families = (*families, _OTHER[Family(families[0])])
        return dataclasses.replace(spec, ip_families=families)
    if spec.ip_family_policy == REQUIRE and len(configured) < 2:
        problems.append(_policy(spec, "this cluster is not configured for dual-stack services"))
    for index, family in enumerate(spec.ip_families):
        if family not in configured:
            message = f'Invalid value: "{family}": not configured on this cluster'
            problems.append(_error(f"spec.ipFamilies[{index}]", message))
    _raise(new, problems)
    families = spec.ip_families or tuple(configured[:1])
    if len(families) == 1 and len(configured) == 2 and spec.ip_family_policy != SINGLE:
        families = (*families, _OTHER[Family(families[0])])
    return dataclasses.replace(spec, ip_families=families)


def _keeps_preference(old: ServiceSpec, new: ServiceSpec) -> bool:
    return (
        old.ip_family_policy == new.ip_family_policy == PREFER
        and old.cluster_ips == new.cluster_ips
        and bool(old.ip_families)
        and old.ip_families == new.ip_families
    )


def _reduced(old: ServiceSpec, new: ServiceSpec, problems: list[FieldError]) -> ServiceSpec:
    """Give up the second address and family when the policy says so, and only then."""
    if new.ip_family_policy == SINGLE:
        if new.cluster_ips == old.cluster_ips:
            new = dataclasses.replace(new, cluster_ips=new.cluster_ips[:1])
        if new.ip_families == old.ip_families:
            new = dataclasses.replace(new, ip_families=new.ip_families[:1])
        return new
    if 0 < len(new.cluster_ips) < len(old.cluster_ips):
        problems.append(_policy(new, "must be 'SingleStack' to release the secondary cluster IP"))
    if 0 < len(new.ip_families) < len(old.ip_families):
        problems.append(_policy(new, "must be 'SingleStack' to release the secondary IP family"))
    return new


def _inferred(
    spec: ServiceSpec, configured: Sequence[Family], problems: list[FieldError]
) -> ServiceSpec:
    """Families that addresses name and `ipFamilies` does not."""
    families = list(spec.ip_families)
    for index, text in enumerate(spec.cluster_ips):
        if text == NONE:
            break
        family = Family(f"IPv{ip_address(text).version}")
        if index < len(families):
            continue
        if family not in configured:
            value = "[]string{" + ", ".join(f'"{it}"' for it in spec.cluster_ips) + "}"
            message = f"Invalid value: {value}: {family} is not configured on this cluster"
            problems.append(_error(f"spec.clusterIPs[{index}]", message))
        else:
            families.append(family)
    return dataclasses.replace(spec, ip_families=tuple(families))


def _policy(spec: ServiceSpec, detail: str) -> FieldError:
    return _error("spec.ipFamilyPolicy", f'Invalid value: "{spec.ip_family_policy}": {detail}')


def _error(field: str, message: str) -> FieldError:
    return FieldError(field=field, reason="FieldValueInvalid", message=message)


def _raise(service: Service, problems: list[FieldError]) -> None:
    if problems:
        raise status.invalid("Service", "", service.metadata.name, problems)
