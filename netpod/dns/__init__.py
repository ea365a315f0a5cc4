"""Cluster DNS: names of Services and pods below cluster.local.

A question's walk: server.py receives it, wire.py reads it, handler.py decides who may answer, parse.py says what the
name means, records.py finds the answer in the view that source.py keeps up to date, wire.py writes it.
"""
