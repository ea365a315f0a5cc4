"""The cluster's memory: a revisioned key-value log, durable before an answer is given.

Reads and writes bytes under `/registry/...` keys, as Kubernetes does in etcd; knows nothing of API objects.
One Protocol (store.py), one embedded implementation (sqlite.py) and what every implementation needs to
feed many watchers from one log (broadcast.py). Only netpod.apiserver imports this package.

Sources: etcd v3 API guarantees; k3s-io/kine for a log-structured store over SQL.
"""
