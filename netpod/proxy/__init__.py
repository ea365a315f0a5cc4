"""kube-proxy: Services and EndpointSlices become this node's packet rules.

Reads Services, EndpointSlices and its own Node; writes rules of the network namespace it runs in (chains KUBE-* of
iptables), a few sysctls, and deletes stale UDP conntrack entries. Of API objects it writes events only.

    model.py     what Services and EndpointSlices say, as plain values
    topology.py  which endpoints may serve whom
    names.py     chain names, and back
    iptables.py  values -> rules, as text that iptables-save prints
    restore.py   rules <-> iptables-restore and iptables-save text; what differs
    changes.py   what changed since the last sync
    ipvs.py      IPVS mode's virtual servers, addresses, sets; ipvs_proxier.py hands them over in order
    modes.py     from one mode to another; owners.py, what both have
    sync.py      the loop
    metrics.py   what it counted

Sources: kubernetes pkg/proxy, pkg/proxy/iptables, pkg/proxy/healthcheck, pkg/proxy/conntrack.
"""
