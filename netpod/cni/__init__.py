"""The pod network of one node: what CNI plugins do, told by its caller, never asking the API.

`network.py` has the CNI verbs add, delete and check. Around them, one file per thing on the way of a packet:
`ipam.py` reserves addresses of the node's pod CIDR on disk, `veth.py` joins pod and node, `bridge.py` keeps cni0,
`masquerade.py` lets pods reach the world, `portmap.py` serves hostPort, `hostgw.py` routes to the other nodes.

Everything is level-triggered: it may be killed at any line and run again. Repeating an `add` gives the same
address, deleting what is absent succeeds, and a failed `add` gives back what it took.

Sources: CNI specification 1.0.0; the plugins bridge, host-local and portmap; flannel's host-gw backend.
"""
