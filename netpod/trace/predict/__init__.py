"""Where would a packet go: the live rules and routes, followed without sending anything.

Reads    iptables-save and `nft -j list ruleset` of the namespaces on the way, `ip route get`, addresses.
Writes   nothing.
Never    claims what a rule does not say: one it cannot read makes the prediction "unsure", with the rule's text.

Rules that draw lots have several outcomes; all are kept.
"""
