"""The Node object: registered once, then its status and its heartbeat.

Source: kubernetes pkg/kubelet/kubelet_node_status.go, pkg/kubelet/nodestatus/setters.go.
"""

import logging
import os
import platform
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from netpod.api import codec, meta
from netpod.api.meta import Condition, ObjectMeta
from netpod.api.node import Node, NodeAddress, NodeSpec, NodeStatus, NodeSystemInfo, Taint
from netpod.client.rest import Client
from netpod.cni import backend
from netpod.errors import AlreadyExists, NotFound
from netpod.kubelet.config import KUBELET_PORT, VERSION, KubeletConfig
from netpod.kubelet.images import Entry

log = logging.getLogger(__name__)
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
_CONDITIONS = (
    (
        "MemoryPressure",
        "False",
        "KubeletHasSufficientMemory",
        "kubelet has sufficient memory available",
    ),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)
MAX_IMAGES, MAX_NAMES = 50, 5
"""Images that a node tells of, and names of each. Source: kubelet.go, nodestatus/setters.go."""
_HUGE_PAGES = Path("/sys/kernel/mm/hugepages")
_NEWS = {
    ("MemoryPressure", "False"): "NodeHasSufficientMemory",
    ("DiskPressure", "False"): "NodeHasNoDiskPressure",
    ("PIDPressure", "False"): "NodeHasSufficientPID",
    ("Ready", "True"): "NodeReady",
    ("Ready", "False"): "NodeNotReady",
}
"""Reasons of the events that tell of a condition's change. Source: pkg/kubelet/nodestatus/setters.go."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def compile(config: KubeletConfig) -> Node:
    """Return the Node as it is registered."""
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    labels = {
        "beta.kubernetes.io/arch": architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        "kubernetes.io/hostname": config.node,
        "kubernetes.io/os": "linux",
    }
    taints: tuple[Taint, ...] = ()
    if config.control_plane and config.dedicated:
        labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
        taints = (Taint(key=CONTROL_PLANE, effect="NoSchedule"),)
    return Node(
        metadata=ObjectMeta(
            name=config.node,
            labels=labels,
            annotations=backend.annotations(config.backend, config.node_ips),
        ),
        spec=NodeSpec(taints=taints),
    )


def compile_images(entries: Sequence[Entry]) -> tuple[dict[str, object], ...]:
    """Return `status.images`, the largest first: names with digest, then with tag, and `sizeBytes`."""
    names: dict[str, dict[str, None]] = defaultdict(dict)
    sizes = {entry.digest: entry.size for entry in entries}
    for entry in entries:
        names[entry.digest][f"{_repository(entry.name)}@{entry.digest}"] = None
    for entry in entries:
        names[entry.digest][entry.name] = None
    largest = sorted(sizes, key=lambda digest: (-sizes[digest], digest))[:MAX_IMAGES]
    return tuple(
        {"names": list(names[digest])[:MAX_NAMES], "sizeBytes": sizes[digest]} for digest in largest
    )


def _repository(name: str) -> str:
    head, slash, last = name.partition("@")[0].rpartition("/")
    return head + slash + last.partition(":")[0]


def compile_status(
    config: KubeletConfig,
    old: NodeStatus,
    *,
    ready: bool,
    now: str,
    images: Sequence[Entry] = (),
) -> NodeStatus:
    """Return the node's status; what did not change keeps its transition time.

    Args:
        config: The node.
        old: What the API server has.
        ready: The shim answers and pods can have a network.
        now: The present moment, RFC 3339.
        images: The local store's.
    """
    resources = {
        "cpu": str(os.cpu_count() or 1),
        "ephemeral-storage": f"{_storage_kib(config.paths.state)}Ki",
        **_huge_pages(),
        "memory": f"{_memory_kib()}Ki",
        "pods": str(config.max_pods),
    }
    # Extended resources are not ours: an operator writes what there is, and all of it may be used.
    resources |= {name: str(amount) for name, amount in old.capacity.items() if "/" in name}
    told = ("Ready", "True", "KubeletReady", "kubelet is posting ready status")
    if not ready:
        message = "container runtime network not ready: no pod CIDR, or the shim is not running"
        told = ("Ready", "False", "KubeletNotReady", message)
    fresh = {row[0]: _condition(old, row, now) for row in (*_CONDITIONS, told)}
    others = tuple(item for item in old.conditions if item.type not in fresh)
    return replace(
        old,
        capacity=resources,
        allocatable=resources,
        conditions=(*others, *fresh.values()),
        addresses=(
            *(NodeAddress(type="InternalIP", address=it) for it in config.host_ips),
            NodeAddress(type="Hostname", address=config.node),
        ),
        daemon_endpoints={"kubeletEndpoint": {"Port": KUBELET_PORT if config.tls else 0}},
        node_info=NodeSystemInfo(
            machine_id=_read("/etc/machine-id"),
            boot_id=_read("/proc/sys/kernel/random/boot_id"),
            kernel_version=platform.release(),
            os_image=_os_image(),
            container_runtime_version="netpod://0.1.0",
            kubelet_version=VERSION,
            kube_proxy_version=VERSION,
            operating_system="linux",
            architecture=_ARCHITECTURES.get(platform.machine(), platform.machine()),
        ),
        images=compile_images(images),
    )


async def register(client: Client, config: KubeletConfig) -> Node:
    """Create the Node, or give the one of that name back the labels and annotations that are ours."""
    wanted = compile(config)
    try:
        return await client.create(wanted)
    except AlreadyExists:
        node = await client.get(Node, config.node)
    ours, theirs = wanted.metadata, node.metadata
    missing = {
        "labels": {k: v for k, v in ours.labels.items() if theirs.labels.get(k) != v},
        "annotations": {
            k: v for k, v in ours.annotations.items() if theirs.annotations.get(k) != v
        },
    }
    if not any(missing.values()):
        return node
    return await client.patch(Node, config.node, "", {"metadata": missing})


def news(old: NodeStatus, new: NodeStatus) -> list[str]:
    """Reasons of the events that tell what changed between two statuses of a node."""
    told = []
    for (type_, status), reason in _NEWS.items():
        now, before = meta.condition(new.conditions, type_), meta.condition(old.conditions, type_)
        if now is not None and now.status == status:
            if before is None or before.status != status:
                told.append(reason)
    return told


async def report(
    client: Client,
    config: KubeletConfig,
    *,
    ready: bool,
    images: Sequence[Entry] = (),
    tell: Callable[[Node, str], None],
) -> Node:
    """Write the node's status if it changed; registers the node again if somebody deleted it.

    Args:
        client: Who writes.
        config: The node.
        ready: The shim answers and pods can have a network.
        images: The local store's.
        tell: Called with the node and the reason of an event about it.
    """
    try:
        node = await client.get(Node, config.node)
    except NotFound:
        node = await register(client, config)
    now = meta.timestamp(meta.now())
    old = codec.encode(node.status)
    fresh = codec.encode(compile_status(config, node.status, ready=ready, now=now, images=images))
    if _lasting(fresh) == _lasting(old):
        return node
    # A patch leaves what it does not name: the last image would never go.
    patch = {"status": {**dict.fromkeys(old), **fresh}}
    written = await client.patch(Node, config.node, "", patch, subresource="status")
    for reason in news(node.status, written.status):
        tell(written, reason)
    return written


def _lasting(status: dict[str, object]) -> object:
    """The status without heartbeat times, which alone are no reason to write."""
    rows = status.get("conditions")
    conditions = [
        {k: v for k, v in row.items() if k != "lastHeartbeatTime"}
        for row in (rows if isinstance(rows, list) else [])
    ]
    return {**status, "conditions": conditions}


def _condition(old: NodeStatus, row: tuple[str, str, str, str], now: str) -> Condition:
    type_, status, reason, message = row
    known = meta.condition(old.conditions, type_)
    same = known is not None and known.status == status
    moment = known.last_transition_time if same and known is not None else now
    return Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_heartbeat_time=now,
        last_transition_time=moment or now,
    )


def _memory_kib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024


def _storage_kib(directory: Path) -> int:
    """Size of the file system that is under all nodes, whatever its use is."""
    for there in (directory, *directory.parents):
        try:
            found = os.statvfs(there)
        except OSError:
            continue
        return found.f_blocks * found.f_frsize // 1024
    return 0


def _huge_pages() -> dict[str, str]:
    """Huge pages of each size that the kernel knows. Source: cadvisor machine.go, v1helper.HugePageResourceName."""
    found = {}
    for folder in sorted(_HUGE_PAGES.glob("hugepages-*kB")):
        kib = int(folder.name.removeprefix("hugepages-").removesuffix("kB"))
        size = f"{kib >> 20}Gi" if kib >= 1 << 20 else f"{kib >> 10}Mi"
        pages = int(_read(str(folder / "nr_hugepages")) or 0)
        found[f"hugepages-{size}"] = f"{pages * kib}Ki" if pages else "0"
    return found


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
