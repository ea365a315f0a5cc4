"""A Kubernetes cluster's network data path, for real, on one Linux machine.

Components meet only at the API server; `netpod.linux` alone changes kernel state; ARCHITECTURE.md walks
a manifest and a packet through the packages.
"""

__version__ = "0.1.0"
