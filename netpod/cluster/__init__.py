"""The composition root: the only package that imports components and starts them.

`up` on one machine: a supervisor imports everything once and forks the control plane, and for each node a shim
and a node process. Reads a ClusterConfig; writes /run/netpod and /var/lib/netpod and network namespaces whose
names begin with `netpod-`. Never touches the host's own network.
"""
