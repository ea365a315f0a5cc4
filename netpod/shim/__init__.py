"""Parent of every container on a node; outlives the node process.

`server.py` answers on a unix socket, `sandbox.py` makes the namespaces a pod's containers share, `container.py` forks
built-in containers into them (`zygote.py` the stand-ins), `exec.py` runs host programs in them, `logs.py` keeps what
they write, `records.py` remembers all of it on disk so that a new shim adopts what an old one left.

The shim decides nothing: what should run is the kubelet's. It can be killed at any line: a container writes its own
record before it does anything else, and one that has not is killed by the kernel together with the shim.

Reads and writes its state directory and the pods' logs. Source: the ideas are containerd-shim's and conmon's.
"""
