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
