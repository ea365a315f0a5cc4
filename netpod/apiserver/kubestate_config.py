"""Which metrics /metrics/kube-state has of storage, configuration, policies and quotas.

Source: kube-state-metrics docs/metrics/storage, policy, cluster; internal/store.
"""

import base64
from collections.abc import Iterable

from netpod.api import quantity
from netpod.apiserver.kubestate import (
    Family,
    Kind,
    Make,
    Sample,
    conditions,
    info,
    moment,
    number,
    numbers,
    one_of,
    ordinary,
    size,
    word,
)
from netpod.apiserver.tables_cells import Json, dig, items

_VERSION = "metadata.resourceVersion"


def _words(path: str, label: str) -> Make:
    """A sample for each word of a list."""
    return lambda obj: [({label: word(it)}, 1.0) for it in dig(obj, path, [])]


_CLAIM = "kube_persistentvolumeclaim"
_PERSISTENT_VOLUME_CLAIM = ordinary(
    "",
    "persistentvolumeclaims",
    "persistentvolumeclaim",
    info(f"{_CLAIM}_info", "Information about persistent volume claim.", storageclass="spec.storageClassName", volumename="spec.volumeName", volumemode="spec.volumeMode"),
    one_of(f"{_CLAIM}_status_phase", "The phase the persistent volume claim is currently in.", "status.phase", "phase", ("Lost", "Bound", "Pending")),
    size(f"{_CLAIM}_resource_requests_storage_bytes", "The capacity of storage requested by the persistent volume claim.", "spec.resources.requests.storage"),
    Family(f"{_CLAIM}_access_mode", "The access mode(s) specified by the persistent volume claim.", _words("spec.accessModes", "access_mode")),
    conditions(f"{_CLAIM}_status_condition", "Information about status of different conditions of persistent volume claim.", "status"),
)  # fmt: skip

_VOLUME = "kube_persistentvolume"


def _claim_ref(volume: Json) -> Iterable[Sample]:
    found = dig(volume, "spec.claimRef")
    if found:
        named = {"name": found.get("name", ""), "claim_namespace": found.get("namespace", "")}
        yield {label: word(value) for label, value in named.items()}, 1.0


_PERSISTENT_VOLUME = ordinary(
    "",
    "persistentvolumes",
    "persistentvolume",
    Family(f"{_VOLUME}_claim_ref", "Information about the Persistent Volume Claim Reference.", _claim_ref),
    one_of(f"{_VOLUME}_status_phase", "The phase indicates if a volume is available, bound to a claim, or released by a claim.", "status.phase", "phase", ("Pending", "Available", "Bound", "Released", "Failed")),
    info(
        f"{_VOLUME}_info",
        "Information about persistentvolume.",
        storageclass="spec.storageClassName",
        host_path="spec.hostPath.path",
        host_path_type="spec.hostPath.type",
        local_path="spec.local.path",
        local_fs="spec.local.fsType",
        nfs_server="spec.nfs.server",
        nfs_path="spec.nfs.path",
        csi_driver="spec.csi.driver",
        csi_volume_handle="spec.csi.volumeHandle",
        reclaim_policy="spec.persistentVolumeReclaimPolicy",
    ),
    size(f"{_VOLUME}_capacity_bytes", "Persistentvolume capacity in bytes.", "spec.capacity.storage"),
    info(f"{_VOLUME}_volume_mode", "Volume Mode information for the PersistentVolume.", volumemode="spec.volumeMode"),
    Family(f"{_VOLUME}_access_mode", "Access modes of the PersistentVolume.", _words("spec.accessModes", "access_mode")),
    namespace="",
)  # fmt: skip

_STORAGE_CLASS = ordinary(
    "storage.k8s.io",
    "storageclasses",
    "storageclass",
    info("kube_storageclass_info", "Information about storageclass.", provisioner="provisioner", reclaim_policy="reclaimPolicy", volume_binding_mode="volumeBindingMode"),
    namespace="",
)  # fmt: skip

_CONFIG_MAP = ordinary(
    "",
    "configmaps",
    "configmap",
    info("kube_configmap_info", "Information about configmap."),
    number("kube_configmap_metadata_resource_version", "Resource version representing a specific version of the configmap.", _VERSION),
)  # fmt: skip

_SECRET = ordinary(
    "",
    "secrets",
    "secret",
    info("kube_secret_info", "Information about secret."),
    info("kube_secret_type", "Type about secret.", type="type"),
    number("kube_secret_metadata_resource_version", "Resource version representing a specific version of secret.", _VERSION),
)  # fmt: skip


def _lease_owner(lease: Json) -> Iterable[Sample]:
    for owner in items(lease, "metadata.ownerReferences") or [{}]:
        yield (
            {
                "owner_kind": word(owner.get("kind", "")),
                "owner_name": word(owner.get("name", "")),
                "lease_holder": word(dig(lease, "spec.holderIdentity", "")),
            },
            1.0,
        )


_LEASE = Kind(
    "coordination.k8s.io",
    "leases",
    {"namespace": "metadata.namespace", "lease": "metadata.name"},
    (
        Family("kube_lease_owner", "Information about the Lease's owner.", _lease_owner),
        moment("kube_lease_renew_time", "Kube lease renew time.", "spec.renewTime"),
    ),
)

_BUDGET = ordinary(
    "policy",
    "poddisruptionbudgets",
    "poddisruptionbudget",
    *numbers(
        "kube_poddisruptionbudget_status",
        ("current_healthy", "status.currentHealthy", "Current number of healthy pods."),
        ("desired_healthy", "status.desiredHealthy", "Minimum desired number of healthy pods."),
        ("pod_disruptions_allowed", "status.disruptionsAllowed", "Number of pod disruptions that are currently allowed."),
        ("expected_pods", "status.expectedPods", "Total number of pods counted by this disruption budget."),
        ("observed_generation", "status.observedGeneration", "Most recent generation observed when updating this PDB status."),
    ),
)  # fmt: skip


def _quota(quota: Json) -> Iterable[Sample]:
    for kind in ("hard", "used"):
        for name, value in sorted(dig(quota, f"status.{kind}", {}).items()):
            yield {"resource": name, "type": kind}, float(quantity.parse(word(value)))


def _limits(limit_range: Json) -> Iterable[Sample]:
    for item in items(limit_range, "spec.limits"):
        for constraint in ("min", "max", "default", "defaultRequest", "maxLimitRequestRatio"):
            for name, value in sorted(dig(item, constraint, {}).items()):
                labels = {"resource": name, "type": word(item.get("type", ""))}
                yield {**labels, "constraint": constraint}, float(quantity.parse(word(value)))


_RESOURCE_QUOTA = ordinary(
    "", "resourcequotas", "resourcequota", Family("kube_resourcequota", "Information about resource quota.", _quota)
)  # fmt: skip
_LIMIT_RANGE = ordinary(
    "", "limitranges", "limitrange", Family("kube_limitrange", "Information about limit range.", _limits)
)  # fmt: skip
_NETWORK_POLICY = ordinary(
    "networking.k8s.io",
    "networkpolicies",
    "networkpolicy",
    *numbers(
        "kube_networkpolicy_spec",
        ("ingress_rules", "spec.ingress", "Number of ingress rules on the networkpolicy"),
        ("egress_rules", "spec.egress", "Number of egress rules on the networkpolicy"),
    ),
)  # fmt: skip

_REQUEST = "kube_certificatesigningrequest"


def _said(request: Json) -> Iterable[Sample]:
    types = [it.get("type") for it in items(request, "status.conditions")]
    for said in ("Approved", "Denied"):
        yield {"condition": said.lower()}, float(types.count(said))


def _signed(request: Json) -> Iterable[Sample]:
    yield {}, float(len(base64.b64decode(dig(request, "status.certificate", ""))))


_CERTIFICATE_SIGNING_REQUEST = ordinary(
    "certificates.k8s.io",
    "certificatesigningrequests",
    "certificatesigningrequest",
    Family(
        f"{_REQUEST}_condition", "The number of each certificatesigningrequest condition", _said
    ),
    Family(f"{_REQUEST}_cert_length", "Length of the issued cert", _signed),
    namespace="",
    signer_name="spec.signerName",
)

CONFIGURATION = (
    _CERTIFICATE_SIGNING_REQUEST,
    _PERSISTENT_VOLUME,
    _PERSISTENT_VOLUME_CLAIM,
    _STORAGE_CLASS,
    _CONFIG_MAP,
    _SECRET,
    _LEASE,
    _BUDGET,
    _RESOURCE_QUOTA,
    _LIMIT_RANGE,
    _NETWORK_POLICY,
)
