"""Which taints a pod can live with (pure).

Source: k8s.io/component-helpers scheduling/corev1, Toleration.ToleratesTaint.
"""

from collections.abc import Iterable

from netpod.api.node import Taint
from netpod.api.pod import Toleration


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Tell whether a toleration covers a taint."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


def tolerated(tolerations: Iterable[Toleration], taint: Taint) -> bool:
    """Tell whether any toleration covers a taint."""
    return any(tolerates(toleration, taint) for toleration in tolerations)
