"""Who may name whom: hostnames in common, namespaces that listeners admit, ReferenceGrants (pure).

Source: Gateway API reference, Listener.hostname, HTTPRoute.hostnames, RouteNamespaces, ReferenceGrant.
"""

from collections.abc import Iterable, Mapping

from netpod.api import selectors
from netpod.api.gateway import GROUP, Listener, ObjectRef, ReferenceGrant


def common(one: str, other: str) -> str | None:
    """The names that both of two hostnames stand for; "" is every name, None is no name.

    `*.a.com` stands for any number of labels more than a.com, at least one.
    """
    if not one or one == other:
        return other
    if not other:
        return one
    if one.startswith("*.") and other.endswith(one[1:]):
        return other
    if other.startswith("*.") and one.endswith(other[1:]):
        return one
    return None


def specificity(hostname: str) -> tuple[int, int]:
    """Sort key: names without wildcard before all others, long ones before short ones, all names last."""
    if not hostname:
        return (2, 0)
    return (1 if hostname.startswith("*") else 0, -len(hostname))


def admits(
    listener: Listener, own: str, namespace: str, labels: Mapping[str, Mapping[str, str]]
) -> bool:
    """Say whether a listener takes routes of a namespace.

    Args:
        listener: With defaults.
        own: The Gateway's namespace.
        namespace: The route's.
        labels: Labels by namespace.
    """
    allowed = listener.allowed_routes.namespaces if listener.allowed_routes else None
    match allowed.from_ if allowed is not None else "Same":
        case "All":
            return True
        case "Selector":
            chosen = allowed.selector if allowed is not None else None
            known = labels.get(namespace)
            query = selectors.from_label_selector(chosen)
            return known is not None and query.matches(known)
        case _:
            return namespace == own


def granted(
    grants: Iterable[ReferenceGrant], kind: str, namespace: str, ref: ObjectRef, target: str
) -> bool:
    """Say whether objects of a kind in a namespace may name an object of the namespace `target`."""
    if namespace == target:
        return True
    return any(
        any((f.group, f.kind, f.namespace) == (GROUP, kind, namespace) for f in grant.spec.from_)
        and any(
            (t.group, t.kind) == (ref.group or "", ref.kind) and t.name in (None, "", ref.name)
            for t in grant.spec.to
        )
        for grant in grants
        if grant.metadata.namespace == target
    )
