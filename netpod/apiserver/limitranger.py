"""LimitRanges: what containers get that ask for nothing, and what is refused for asking too much or too little.

Source: plugin/pkg/admission/limitranger/admission.go.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import cast

from netpod.api import podamounts, quantity, registry, structs
from netpod.api.meta import IntOrString, Object
from netpod.api.pod import Container, Pod
from netpod.api.policy import LimitRange, LimitRangeItem
from netpod.api.storage import PersistentVolumeClaim
from netpod.apiserver import objects, storage
from netpod.apiserver.storage import Storage
from netpod.store.store import RECENT

LIMITS = registry.of(LimitRange)
NOTE = "kubernetes.io/limit-ranger"
Amounts = Mapping[str, Fraction]


async def default(store: Storage, obj: Object) -> Object:
    """Give a new pod's containers the requests and limits of the namespace's LimitRanges."""
    pod = cast(Pod, obj)
    for limit in await _limits(store, pod.metadata.namespace):
        pod = with_defaults(pod, limit)
    return pod


async def check(store: Storage, resource: registry.Resource, obj: Object) -> None:
    """Let a new pod or claim pass.

    Raises:
        Forbidden: it breaks a LimitRange; the message has all that is wrong by one of them.
    """
    if not isinstance(obj, Pod | PersistentVolumeClaim):
        return
    for limit in await _limits(store, obj.metadata.namespace):
        found = list(wrongs(obj, limit))
        if found:
            cause = found[0] if len(found) == 1 else f"[{', '.join(found)}]"
            raise storage.forbidden(resource, obj.metadata.name, cause)


async def _limits(store: Storage, namespace: str) -> list[LimitRange]:
    page = await store.list(LIMITS, namespace, not_older_than=RECENT)
    return [cast(LimitRange, objects.unpack(LIMITS, kv)) for kv in page.items]


def with_defaults(pod: Pod, limit: LimitRange) -> Pod:
    """The pod with what one LimitRange gives; an annotation says what that was (pure)."""
    requests: dict[str, IntOrString] = {}
    limits: dict[str, IntOrString] = {}
    for item in limit.spec.limits:
        if item.type == "Container":
            requests.update(item.default_request)
            limits.update(item.default)
    told: list[str] = []

    def filled(container: Container, kind: str) -> Container:
        own = container.resources
        for name, given, wanted in (
            ("request", own.requests, requests),
            ("limit", own.limits, limits),
        ):
            added = sorted(set(wanted) - set(given))
            if added:
                told.append(f"{', '.join(added)} {name} for {kind} {container.name}")
        resources = dataclasses.replace(
            own, requests={**requests, **own.requests}, limits={**limits, **own.limits}
        )
        return structs.replace(container, resources=resources)

    if not requests and not limits:
        return pod
    containers = tuple(filled(container, "container") for container in pod.spec.containers)
    first = tuple(filled(container, "init container") for container in pod.spec.init_containers)
    if not told:
        return pod
    spec = structs.replace(pod.spec, containers=containers, init_containers=first)
    note = f"LimitRanger plugin set: {'; '.join(told)}"
    annotations = {**pod.metadata.annotations, NOTE: note}
    metadata = structs.replace(pod.metadata, annotations=annotations)
    return structs.replace(pod, metadata=metadata, spec=spec)


def wrongs(obj: Pod | PersistentVolumeClaim, limit: LimitRange) -> Iterator[str]:
    """What of an object breaks a LimitRange, in upstream's words (pure)."""
    for item in limit.spec.limits:
        if isinstance(obj, PersistentVolumeClaim):
            if item.type == "PersistentVolumeClaim":
                yield from _claim(obj, item)
        elif item.type == "Container":
            for container in (*obj.spec.containers, *obj.spec.init_containers):
                own = container.resources
                yield from _bounds(
                    item, podamounts.exact(own.requests), podamounts.exact(own.limits)
                )
        elif item.type == "Pod":
            yield from _bounds(item, podamounts.requests(obj.spec), podamounts.limits(obj.spec))


def _bounds(item: LimitRangeItem, requests: Amounts, limits: Amounts) -> Iterator[str]:
    for name, bound in item.min.items():
        least = quantity.parse(bound)
        subject = f"minimum {name} usage per {item.type} is {quantity.canonical(bound)}"
        if name not in requests:
            yield f"{subject}.  No request is specified"
        elif requests[name] < least:
            yield f"{subject}, but request is {_text(name, requests[name])}"
        elif name in limits and limits[name] < least:
            yield f"{subject}, but limit is {_text(name, limits[name])}"
    for name, bound in item.max.items():
        most = quantity.parse(bound)
        subject = f"maximum {name} usage per {item.type} is {quantity.canonical(bound)}"
        if name not in limits:
            yield f"{subject}.  No limit is specified"
        elif limits[name] > most:
            yield f"{subject}, but limit is {_text(name, limits[name])}"
        elif name in requests and requests[name] > most:
            yield f"{subject}, but request is {_text(name, requests[name])}"
    for name, bound in item.max_limit_request_ratio.items():
        ratio = quantity.parse(bound)
        subject = (
            f"{name} max limit to request ratio per {item.type} is {quantity.canonical(bound)}"
        )
        if not requests.get(name):
            yield f"{subject}, but no request is specified or request is 0"
        elif not limits.get(name):
            yield f"{subject}, but no limit is specified or limit is 0"
        elif limits[name] / requests[name] > ratio:
            yield f"{subject}, but provided ratio is {float(limits[name] / requests[name]):f}"


def _claim(claim: PersistentVolumeClaim, item: LimitRangeItem) -> Iterator[str]:
    requests = podamounts.exact(claim.spec.resources.requests)
    for name, bound in item.min.items():
        subject = f"minimum {name} usage per {item.type} is {quantity.canonical(bound)}"
        if name not in requests:
            yield f"{subject}.  No request is specified"
        elif requests[name] < quantity.parse(bound):
            yield f"{subject}, but request is {_text(name, requests[name])}"
    for name, bound in item.max.items():
        subject = f"maximum {name} usage per {item.type} is {quantity.canonical(bound)}"
        if name not in requests:
            yield f"{subject}.  No request is specified"
        elif requests[name] > quantity.parse(bound):
            yield f"{subject}, but request is {_text(name, requests[name])}"


def _text(name: str, amount: Fraction) -> str:
    binary = name in ("memory", "storage", "ephemeral-storage")
    return quantity.format(
        amount, quantity.Format.BINARY_SI if binary else quantity.Format.DECIMAL_SI
    )
