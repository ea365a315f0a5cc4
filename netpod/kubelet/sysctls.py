"""Kernel parameters a pod asks for: only those that are its own, and that harm nobody else.

A pod that asks for another one is refused, as by a kubelet without --allowed-unsafe-sysctls.

Source: kubernetes pkg/kubelet/sysctl/safe_sysctls.go, allowlist.go; k8s.io/component-helpers node/util/sysctl.
"""

from netpod.api.pod import Pod

SAFE = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_syncookies",
    }
)
REFUSED = "SysctlForbidden"


def wanted(pod: Pod) -> dict[str, str]:
    """Values by name, with dots."""
    context = pod.spec.security_context
    listed = context.get("sysctls") if isinstance(context, dict) else None
    return {
        str(each.get("name", "")).replace("/", "."): str(each.get("value", ""))
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict)
    }


def refusal(pod: Pod) -> str:
    """Why the node does not take the pod; "" when it does."""
    for name in wanted(pod):
        if name not in SAFE:
            return f'forbidden sysctl: "{name}" not allowlisted'
        shared = pod.spec.host_network if name.startswith("net.") else pod.spec.host_ipc
        if shared:
            what = "net" if name.startswith("net.") else "ipc"
            return f'forbidden sysctl: "{name}" not allowed with host {what} enabled'
    return ""
