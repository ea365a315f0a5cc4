"""NetworkPolicy on one node: policies, pods and namespaces > nftables rules of our own.

Reads NetworkPolicies, Pods and Namespaces; writes the table `netpod-policy` of the node's network namespace. Never
touches kube-proxy's tables. Source: k8s.io/api networking/v1 NetworkPolicy.
"""
