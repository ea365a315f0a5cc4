"""Ingress: HTTP from outside to Services, by host and path, through HAProxy.

A request's walk: model.py says which rule takes it, haproxy.py writes that down as maps HAProxy searches,
change.py says how little must change in a running HAProxy, reload.py changes it, refusal.py leaves out what HAProxy
refuses, controller.py is the loop.
"""
