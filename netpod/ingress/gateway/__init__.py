"""Gateway API: Gateways and HTTPRoutes, served by the same HAProxy as Ingresses.

An object's walk: listeners.py says what a Gateway's listeners are worth, attach.py which routes they take, rules.py
and filters.py turn a route's rules into matches in the order of precedence, references.py says who may name whom,
plan.py puts it together with what every object's status says (statuses.py), services.py gives each Gateway a Service
of type LoadBalancer, frontend.py writes HAProxy's frontends, watch.py follows the objects and writes the statuses.
"""
