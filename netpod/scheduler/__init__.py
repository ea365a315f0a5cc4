"""The scheduler: every pod without a node gets one, or is told why not.

Reads pods, nodes and namespaces through informers; writes bindings, the condition PodScheduled and events. One pod is
decided at a time against the state as it will be once the earlier decisions are carried out (`cache`), so decisions
need not wait for their own echo; bindings run side by side. Never starts anything: that is the kubelet's.

`filters` (may it run there) and `scores` (where best) are pure; their order and words are upstream's.

Source: kubernetes pkg/scheduler.
"""
