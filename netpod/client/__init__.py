"""How every component sees the cluster: typed verbs, watches, caches, queues, events, leases.

The only door to the API server, over a unix socket or TLS. Changes nothing but through the API.
Source: the ideas are client-go's (rest, tools/cache, util/workqueue, tools/record, tools/leaderelection).
"""
