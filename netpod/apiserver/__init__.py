"""The Kubernetes API over HTTP: what kubectl and every component of netpod talk to.

Reads requests, checks who asks and what for, admits objects (default, mutate, validate) and is the only
component that opens the store. Never touches the kernel and never decides anything a controller could decide.

A request's way: server (listen) > authentication > routes (URL grammar) > authorization > handlers, reading,
deletion, subresources or watch > admission, allocators > storage > netpod.store.

Sources: Kubernetes API conventions and API reference; k8s.io/apiserver pkg/endpoints, pkg/registry.
"""
