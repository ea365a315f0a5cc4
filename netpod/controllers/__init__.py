"""The controllers: each makes one promise of the API true, over and over.

Reads every kind through one shared set of informers; writes only through the API server. Knows no node, no
kernel and no other component. Deciding is pure and lives beside each loop: `replicas` (which pods go),
`rollout` (the next step of a Deployment), `slices` and `subsets` (how endpoints are packed), `health` (what a
silent node means), `ownership` (who is whose).

Every loop is level-triggered: it recomputes from what it observes, may run twice, and may be killed half-way.
What a loop has just written is laid over the informers' caches (`view`), so a stale cache makes no second pod.

Source: kubernetes pkg/controller; the names, events, reasons and messages are upstream's.
"""
