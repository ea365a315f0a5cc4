"""The node agent: makes what runs on this node what the pods bound to it ask for.

`agent.py` registers the node and starts one `podworker.py` per pod; a worker compares what is wanted with what the shim
runs, and corrects the difference with `sandbox.py` (namespaces and network) and `container.py` (what to start).
`probe.py` asks containers how they are, `status.py` says what came of it, `runtime.py` talks to the shim.

Reads Pods of its node, Nodes, ConfigMaps and Secrets; writes its Node, its Lease, its Pods' status, Events. Keeps no
state of its own: a restarted kubelet learns from the shim and the API server, and touches nothing that is right.
Source: kubernetes pkg/kubelet.
"""
