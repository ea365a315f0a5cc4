"""Shapes of what pods keep as written: volumes, affinities, security contexts, sources of environment variables.

Source: k8s.io/api core/v1/types.go.
"""

from netpod.api.shapes import (
    ANY,
    BOOLEAN,
    INTEGER,
    QUANTITY,
    REFERENCE,
    REQUIREMENT,
    SELECTOR,
    STRING,
    Shape,
)

_KEY: Shape = {"name": STRING, "key": STRING, "optional": BOOLEAN}
_OPTIONAL: Shape = {"name": STRING, "optional": BOOLEAN}
_FIELD: Shape = {"apiVersion": STRING, "fieldPath": STRING}
_RESOURCE: Shape = {"containerName": STRING, "resource": STRING, "divisor": QUANTITY}
_SECRET: Shape = {"name": STRING, "namespace": STRING}
_ITEMS: Shape = [{"key": STRING, "path": STRING, "mode": INTEGER}]
_DOWNWARD: Shape = [
    {"path": STRING, "fieldRef": _FIELD, "resourceFieldRef": _RESOURCE, "mode": INTEGER}
]

ENV_SOURCE: Shape = {
    "fieldRef": _FIELD,
    "resourceFieldRef": _RESOURCE,
    "configMapKeyRef": _KEY,
    "secretKeyRef": _KEY,
}
ENV_FROM: Shape = [{"prefix": STRING, "configMapRef": _OPTIONAL, "secretRef": _OPTIONAL}]
MOUNTS: Shape = [
    {
        "name": STRING,
        "readOnly": BOOLEAN,
        "recursiveReadOnly": STRING,
        "mountPath": STRING,
        "subPath": STRING,
        "mountPropagation": STRING,
        "subPathExpr": STRING,
    }
]
DEVICES: Shape = [{"name": STRING, "devicePath": STRING}]

_CONTEXT: Shape = {
    "seLinuxOptions": {"user": STRING, "role": STRING, "type": STRING, "level": STRING},
    "windowsOptions": {
        "gmsaCredentialSpecName": STRING,
        "gmsaCredentialSpec": STRING,
        "runAsUserName": STRING,
        "hostProcess": BOOLEAN,
    },
    "runAsUser": INTEGER,
    "runAsGroup": INTEGER,
    "runAsNonRoot": BOOLEAN,
    "seccompProfile": {"type": STRING, "localhostProfile": STRING},
    "appArmorProfile": {"type": STRING, "localhostProfile": STRING},
}
POD_CONTEXT: Shape = {
    **_CONTEXT,
    "supplementalGroups": [INTEGER],
    "supplementalGroupsPolicy": STRING,
    "fsGroup": INTEGER,
    "sysctls": [{"name": STRING, "value": STRING}],
    "fsGroupChangePolicy": STRING,
}
CONTAINER_CONTEXT: Shape = {
    **_CONTEXT,
    "capabilities": {"add": [STRING], "drop": [STRING]},
    "privileged": BOOLEAN,
    "readOnlyRootFilesystem": BOOLEAN,
    "allowPrivilegeEscalation": BOOLEAN,
    "procMount": STRING,
}

NODE_TERM: Shape = {"matchExpressions": [REQUIREMENT], "matchFields": [REQUIREMENT]}
NODE_SELECTOR: Shape = {"nodeSelectorTerms": [NODE_TERM]}
_POD_TERM: Shape = {
    "labelSelector": SELECTOR,
    "namespaces": [STRING],
    "topologyKey": STRING,
    "namespaceSelector": SELECTOR,
    "matchLabelKeys": [STRING],
    "mismatchLabelKeys": [STRING],
}
NODE_AFFINITY: Shape = {
    "requiredDuringSchedulingIgnoredDuringExecution": NODE_SELECTOR,
    "preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": INTEGER, "preference": NODE_TERM}
    ],
}
POD_AFFINITY: Shape = {
    "requiredDuringSchedulingIgnoredDuringExecution": [_POD_TERM],
    "preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": INTEGER, "podAffinityTerm": _POD_TERM}
    ],
}

_CLAIM_SPEC: Shape = {
    "accessModes": [STRING],
    "selector": SELECTOR,
    "resources": {"limits": {"*": QUANTITY}, "requests": {"*": QUANTITY}},
    "volumeName": STRING,
    "storageClassName": STRING,
    "volumeMode": STRING,
    "dataSource": REFERENCE,
    "dataSourceRef": REFERENCE,
}
SOURCES: Shape = {
    "hostPath": {"path": STRING, "type": STRING},
    "emptyDir": {"medium": STRING, "sizeLimit": QUANTITY},
    "gcePersistentDisk": {
        "pdName": STRING, "fsType": STRING, "partition": INTEGER, "readOnly": BOOLEAN,
    },
    "awsElasticBlockStore": {
        "volumeID": STRING, "fsType": STRING, "partition": INTEGER, "readOnly": BOOLEAN,
    },
    "gitRepo": {"repository": STRING, "revision": STRING, "directory": STRING},
    "secret": {
        "secretName": STRING, "items": _ITEMS, "defaultMode": INTEGER, "optional": BOOLEAN,
    },
    "nfs": {"server": STRING, "path": STRING, "readOnly": BOOLEAN},
    "iscsi": {
        "targetPortal": STRING, "iqn": STRING, "lun": INTEGER, "iscsiInterface": STRING,
        "fsType": STRING, "readOnly": BOOLEAN, "portals": [STRING], "secretRef": _SECRET,
    },
    "glusterfs": {"endpoints": STRING, "path": STRING, "readOnly": BOOLEAN},
    "persistentVolumeClaim": {"claimName": STRING, "readOnly": BOOLEAN},
    "downwardAPI": {"items": _DOWNWARD, "defaultMode": INTEGER},
    "configMap": {
        "name": STRING, "items": _ITEMS, "defaultMode": INTEGER, "optional": BOOLEAN,
    },
    "projected": {
        "sources": [
            {
                "secret": {"name": STRING, "items": _ITEMS, "optional": BOOLEAN},
                "downwardAPI": {"items": _DOWNWARD},
                "configMap": {"name": STRING, "items": _ITEMS, "optional": BOOLEAN},
                "serviceAccountToken": {
                    "audience": STRING, "expirationSeconds": INTEGER, "path": STRING,
                },
                "clusterTrustBundle": ANY,
            }
        ],
        "defaultMode": INTEGER,
    },
    "csi": {
        "driver": STRING, "readOnly": BOOLEAN, "fsType": STRING, "volumeAttributes": {"*": STRING},
        "nodePublishSecretRef": _SECRET,
    },
    "ephemeral": {"volumeClaimTemplate": {"metadata": {}, "spec": _CLAIM_SPEC}},
}  # fmt: skip
"""By the name of a volume's source."""
