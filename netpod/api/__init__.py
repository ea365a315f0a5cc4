"""Kubernetes objects as values: types, codec, defaults, validation, selectors. Pure; no I/O.

Reads manifests (JSON, YAML) and writes them back without losing what it does not know.
Source: the OpenAPI types of Kubernetes, k8s.io/api and k8s.io/apimachinery.
"""
