"""What the published schema says beyond our types: fields kept as written, list keys, what is required.

Our classes type what netpod acts on. A manifest may say more, and a client that checks it before sending (kubectl
before 1.25) refuses every field the schema lacks, so the rest of upstream's fields stand here as data:

    STRUCTS    struct -> "field:type ...", for structs that are no classes, and added to the classes of that name
    type       str bool int int64 number any intstr quantity time bytes STRUCT; [] a list of, {} a map of
    []T@KEYS   a list whose elements are told apart by KEYS; []T@set a set; any other list is replaced whole

Source: k8s.io/api core/v1, networking/v1, discovery/v1, apimachinery meta/v1 types.go (names, listType tags).
"""

from collections.abc import Mapping

STRUCTS: Mapping[str, str] = {
    "ObjectMeta": "managedFields:[]ManagedFieldsEntry",
    "ManagedFieldsEntry": "manager:str operation:str apiVersion:str time:time fieldsType:str"
    " fieldsV1:any subresource:str",
    "PodSpec": "securityContext:PodSecurityContext"
    " os:PodOS schedulingGates:[]PodSchedulingGate@name resources:ResourceRequirements"
    " resourceClaims:[]PodResourceClaim@name hostnameOverride:str",
    "PodOS": "name:str",
    "PodResourceClaim": "name:str resourceClaimName:str resourceClaimTemplateName:str",
    "PodSecurityContext": "seLinuxOptions:SELinuxOptions windowsOptions:WindowsSecurityContextOptions"
    " runAsUser:int64 runAsGroup:int64 runAsNonRoot:bool supplementalGroups:[]int64"
    " supplementalGroupsPolicy:str fsGroup:int64 sysctls:[]Sysctl fsGroupChangePolicy:str"
    " seccompProfile:SeccompProfile appArmorProfile:AppArmorProfile seLinuxChangePolicy:str",
    "SecurityContext": "capabilities:Capabilities privileged:bool seLinuxOptions:SELinuxOptions"
    " windowsOptions:WindowsSecurityContextOptions runAsUser:int64 runAsGroup:int64 runAsNonRoot:bool"
    " readOnlyRootFilesystem:bool allowPrivilegeEscalation:bool procMount:str"
    " seccompProfile:SeccompProfile appArmorProfile:AppArmorProfile",
    "Capabilities": "add:[]str drop:[]str",
    "SELinuxOptions": "user:str role:str type:str level:str",
    "WindowsSecurityContextOptions": "gmsaCredentialSpecName:str gmsaCredentialSpec:str"
    " runAsUserName:str hostProcess:bool",
    "SeccompProfile": "type:str localhostProfile:str",
    "AppArmorProfile": "type:str localhostProfile:str",
    "Sysctl": "name:str value:str",
    "Container": "envFrom:[]EnvFromSource volumeMounts:[]VolumeMount@mountPath"
    " volumeDevices:[]VolumeDevice@devicePath securityContext:SecurityContext"
    " resizePolicy:[]ContainerResizePolicy restartPolicyRules:any",
    "EphemeralContainer": "name:str image:str command:[]str args:[]str workingDir:str"
    " ports:[]ContainerPort@containerPort,protocol envFrom:[]EnvFromSource env:[]EnvVar@name"
    " resources:ResourceRequirements restartPolicy:str volumeMounts:[]VolumeMount@mountPath"
    " volumeDevices:[]VolumeDevice@devicePath livenessProbe:Probe readinessProbe:Probe startupProbe:Probe"
    " lifecycle:Lifecycle terminationMessagePath:str terminationMessagePolicy:str imagePullPolicy:str"
    " securityContext:SecurityContext stdin:bool stdinOnce:bool tty:bool targetContainerName:str"
    " resizePolicy:[]ContainerResizePolicy",
    "ContainerResizePolicy": "resourceName:str restartPolicy:str",
    "VolumeMount": "name:str readOnly:bool recursiveReadOnly:str mountPath:str subPath:str"
    " mountPropagation:str subPathExpr:str",
    "VolumeDevice": "name:str devicePath:str",
    "EnvVar": "valueFrom:EnvVarSource",
    "EnvVarSource": "fieldRef:ObjectFieldSelector resourceFieldRef:ResourceFieldSelector"
    " configMapKeyRef:ConfigMapKeySelector secretKeyRef:SecretKeySelector fileKeyRef:any",
    "ObjectFieldSelector": "apiVersion:str fieldPath:str",
    "ResourceFieldSelector": "containerName:str resource:str divisor:quantity",
    "ConfigMapKeySelector": "name:str key:str optional:bool",
    "SecretKeySelector": "name:str key:str optional:bool",
    "EnvFromSource": "prefix:str configMapRef:ConfigMapEnvSource secretRef:SecretEnvSource",
    "ConfigMapEnvSource": "name:str optional:bool",
    "SecretEnvSource": "name:str optional:bool",
    "ResourceRequirements": "claims:[]ResourceClaim@name",
    "ResourceClaim": "name:str request:str",
    "LifecycleHandler": "sleep:SleepAction",
    "SleepAction": "seconds:int64",
    "Lifecycle": "stopSignal:str",
    "Affinity": "nodeAffinity:NodeAffinity podAffinity:PodAffinity podAntiAffinity:PodAntiAffinity",
    "NodeAffinity": "requiredDuringSchedulingIgnoredDuringExecution:NodeSelector"
    " preferredDuringSchedulingIgnoredDuringExecution:[]PreferredSchedulingTerm",
    "NodeSelector": "nodeSelectorTerms:[]NodeSelectorTerm",
    "NodeSelectorTerm": "matchExpressions:[]NodeSelectorRequirement matchFields:[]NodeSelectorRequirement",
    "NodeSelectorRequirement": "key:str operator:str values:[]str",
    "PreferredSchedulingTerm": "weight:int preference:NodeSelectorTerm",
    "PodAffinity": "requiredDuringSchedulingIgnoredDuringExecution:[]PodAffinityTerm"
    " preferredDuringSchedulingIgnoredDuringExecution:[]WeightedPodAffinityTerm",
    "PodAntiAffinity": "requiredDuringSchedulingIgnoredDuringExecution:[]PodAffinityTerm"
    " preferredDuringSchedulingIgnoredDuringExecution:[]WeightedPodAffinityTerm",
    "PodAffinityTerm": "labelSelector:LabelSelector namespaces:[]str topologyKey:str"
    " namespaceSelector:LabelSelector matchLabelKeys:[]str mismatchLabelKeys:[]str",
    "WeightedPodAffinityTerm": "weight:int podAffinityTerm:PodAffinityTerm",
    "TopologySpreadConstraint": "nodeAffinityPolicy:str nodeTaintsPolicy:str matchLabelKeys:[]str",
    "Volume": "hostPath:HostPathVolumeSource emptyDir:EmptyDirVolumeSource secret:SecretVolumeSource"
    " configMap:ConfigMapVolumeSource persistentVolumeClaim:PersistentVolumeClaimVolumeSource"
    " projected:ProjectedVolumeSource downwardAPI:DownwardAPIVolumeSource nfs:NFSVolumeSource csi:any"
    " ephemeral:any iscsi:any glusterfs:any rbd:any flexVolume:any cinder:any cephfs:any flocker:any"
    " fc:any azureFile:any azureDisk:any vsphereVolume:any quobyte:any photonPersistentDisk:any"
    " portworxVolume:any scaleIO:any storageos:any gcePersistentDisk:any awsElasticBlockStore:any"
    " gitRepo:any image:any",
    "HostPathVolumeSource": "path:str type:str",
    "EmptyDirVolumeSource": "medium:str sizeLimit:quantity",
    "SecretVolumeSource": "secretName:str items:[]KeyToPath defaultMode:int optional:bool",
    "ConfigMapVolumeSource": "name:str items:[]KeyToPath defaultMode:int optional:bool",
    "KeyToPath": "key:str path:str mode:int",
    "PersistentVolumeClaimVolumeSource": "claimName:str readOnly:bool",
    "NFSVolumeSource": "server:str path:str readOnly:bool",
    "DownwardAPIVolumeSource": "items:[]DownwardAPIVolumeFile defaultMode:int",
    "DownwardAPIVolumeFile": "path:str fieldRef:ObjectFieldSelector"
    " resourceFieldRef:ResourceFieldSelector mode:int",
    "ProjectedVolumeSource": "sources:[]VolumeProjection defaultMode:int",
    "VolumeProjection": "secret:SecretProjection downwardAPI:DownwardAPIProjection"
    " configMap:ConfigMapProjection serviceAccountToken:ServiceAccountTokenProjection"
    " clusterTrustBundle:any podCertificate:any",
    "SecretProjection": "name:str items:[]KeyToPath optional:bool",
    "ConfigMapProjection": "name:str items:[]KeyToPath optional:bool",
    "DownwardAPIProjection": "items:[]DownwardAPIVolumeFile",
    "ServiceAccountTokenProjection": "audience:str expirationSeconds:int64 path:str",
    "PodStatus": "resize:str resourceClaimStatuses:[]any extendedResourceClaimStatus:any",
    "ContainerStatus": "allocatedResources:{}quantity resources:ResourceRequirements"
    " volumeMounts:[]any user:any allocatedResourcesStatus:[]any stopSignal:str",
    "NodeSpec": "configSource:any externalID:str",
    "NodeStatus": "daemonEndpoints:NodeDaemonEndpoints images:[]ContainerImage"
    " volumesAttached:[]AttachedVolume config:any runtimeHandlers:[]any features:any"
    " declaredFeatures:[]str",
    "NodeSystemInfo": "swap:any",
    "NodeDaemonEndpoints": "kubeletEndpoint:DaemonEndpoint",
    "DaemonEndpoint": "Port:int",
    "ContainerImage": "names:[]str sizeBytes:int64",
    "AttachedVolume": "name:str devicePath:str",
    "ServiceSpec": "topologyKeys:[]str ipFamily:str",
    "IngressBackend": "resource:TypedLocalObjectReference",
    "TypedLocalObjectReference": "apiGroup:str kind:str name:str",
    "IngressClassSpec": "parameters:IngressClassParametersReference",
    "IngressClassParametersReference": "apiGroup:str kind:str name:str scope:str namespace:str",
    "EventSeries": "state:str",
    "LeaseSpec": "strategy:str preferredHolder:str",
    "DeploymentStatus": "terminatingReplicas:int",
    "ReplicaSetStatus": "terminatingReplicas:int",
}

LIST_KEYS: Mapping[tuple[str, str], str] = {
    ("Container", "ports"): "containerPort,protocol",
    ("ServiceSpec", "ports"): "port,protocol",
    ("PodSpec", "topologySpreadConstraints"): "topologyKey,whenUnsatisfiable",
}
"""Where server-side apply needs more than the merge key of patch_schema.py."""

PROTOCOLS = frozenset({("ContainerPort", "protocol"), ("ServicePort", "protocol")})
"""Keys of list elements that default to TCP, so that leaving them out names the same element."""

ATOMIC_STRUCTS = frozenset(
    "LabelSelector ObjectReference LocalObjectReference OwnerReference NodeSelector NodeSelectorTerm"
    " ObjectFieldSelector ResourceFieldSelector ConfigMapKeySelector SecretKeySelector"
    " TypedLocalObjectReference RoleRef".split()
)
ATOMIC_MAPS = frozenset({("ServiceSpec", "selector"), ("PodSpec", "nodeSelector")})

OWN_FORM = frozenset(
    {
        ("networking.k8s.io/v1beta1", "Ingress"),
        ("discovery.k8s.io/v1beta1", "EndpointSlice"),
        ("autoscaling/v1", "HorizontalPodAutoscaler"),
        ("events.k8s.io/v1", "Event"),
    }
)
"""Views whose fields differ from those that are stored; published without them, so nothing is refused."""

RETAIN_KEYS = frozenset({("DeploymentSpec", "strategy"), ("PodSpec", "volumes")})
"""Fields whose patches list the keys that stay (patch strategy retainKeys)."""

REQUIRED: Mapping[str, str] = {
    "Container": "name",
    "EphemeralContainer": "name",
    "ContainerPort": "containerPort",
    "EnvVar": "name",
    "VolumeMount": "name mountPath",
    "VolumeDevice": "name devicePath",
    "Volume": "name",
    "HTTPGetAction": "port",
    "HTTPHeader": "name value",
    "TCPSocketAction": "port",
    "PodSpec": "containers",
    "PodOS": "name",
    "HostAlias": "ip",
    "PodReadinessGate": "conditionType",
    "Sysctl": "name value",
    "KeyToPath": "key path",
    "ObjectFieldSelector": "fieldPath",
    "ResourceFieldSelector": "resource",
    "ConfigMapKeySelector": "key",
    "SecretKeySelector": "key",
    "HostPathVolumeSource": "path",
    "PersistentVolumeClaimVolumeSource": "claimName",
    "NFSVolumeSource": "server path",
    "SeccompProfile": "type",
    "NodeSelector": "nodeSelectorTerms",
    "NodeSelectorRequirement": "key operator",
    "PodAffinityTerm": "topologyKey",
    "TopologySpreadConstraint": "maxSkew topologyKey whenUnsatisfiable",
    "Taint": "key effect",
    "ServicePort": "port",
    "DeploymentSpec": "selector template",
    "ReplicaSetSpec": "selector",
    "LabelSelectorRequirement": "key operator",
    "OwnerReference": "apiVersion kind name uid",
    "Condition": "type status",
    "IngressServiceBackend": "name",
    "HTTPIngressPath": "pathType backend",
    "HTTPIngressRuleValue": "paths",
    "Endpoint": "addresses",
    "EndpointSlice": "addressType endpoints",
    "EndpointsPort": "port",
    "EndpointAddress": "ip",
    "Event": "metadata involvedObject",
}
