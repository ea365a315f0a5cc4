"""Which Ingresses are ours (pure).

Source: Kubernetes Ingress concept page, "Ingress class", "Deprecated annotation"; kubenet-facts F.4.
"""

from collections.abc import Iterable

from netpod.api.networking import Ingress, IngressClass

CONTROLLER = "netpod.dev/ingress"
"""`spec.controller` of the IngressClasses served here."""
DEFAULT_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"
LEGACY_ANNOTATION = "kubernetes.io/ingress.class"


def served(ingress: Ingress, classes: Iterable[IngressClass]) -> bool:
    """Say whether an Ingress names a class of ours, or names none while the default class is ours.

    The field wins over the old annotation. An unknown class is nobody's: it is neither served nor written to.
    Of several default classes the newest counts, as at admission.
    """
    known = list(classes)
    name = ingress.spec.ingress_class_name
    if name is None:
        name = ingress.metadata.annotations.get(LEGACY_ANNOTATION)
    if name is not None:
        return any(c.metadata.name == name and c.spec.controller == CONTROLLER for c in known)
    defaults = [c for c in known if c.metadata.annotations.get(DEFAULT_ANNOTATION) == "true"]
    if not defaults:
        return False
    newest = max(defaults, key=lambda c: (c.metadata.creation_timestamp, c.metadata.name))
    return newest.spec.controller == CONTROLLER
