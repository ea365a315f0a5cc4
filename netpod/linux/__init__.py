"""The kernel: network namespaces, links, routes, sysctls, rule sets, flows and processes.

Reads and changes kernel state, for any network namespace, given by its name below /run/netns ("" is the
calling process's own). It is the only package that runs programs (process.py) and speaks netlink (netlink.py),
and it knows no word of Kubernetes.

Two rules hold everywhere:
- A network namespace belongs to a thread. A worker thread enters it, opens what it needs and ends; sockets and
  child processes stay where they were made. The event loop's thread never moves.
- Functions block, for microseconds (netlink, files) or as long as the program they run (`iptables-restore`,
  `nft`): call those from a worker thread.

Failures are `KernelError` with the kernel's errno; a program that is missing is `Unsupported`.

Sources: namespaces(7), network_namespaces(7), rtnetlink(7), ip-netns(8), iptables-restore(8), nft(8).
"""

import importlib.util
import sys

# We use pyroute2's message classes only. Its own __init__ imports all it has (160 modules, 80 ms and 6 MB in every
# process), so its submodules are made importable without running that; docs/decisions/0007-lean-pyroute2.md.
if "pyroute2" not in sys.modules:
    _spec = importlib.util.find_spec("pyroute2")
    if _spec is not None:
        sys.modules["pyroute2"] = importlib.util.module_from_spec(_spec)
