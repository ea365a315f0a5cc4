"""Keeps the table right while policies, pods and namespaces come and go, with work for what changed only (pure).

Only selectors and port names that some local pod's policies use have sets. A pod's change asks the selectors of its
own namespace and those over namespaces, nobody else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from netpod.api.meta import Key
from netpod.ip import Family
from netpod.policy import compile
from netpod.policy.model import Direction, PodFacts, Policy, Selector, namespace_labels
from netpod.policy.table import Table

_PortName = tuple[str, str]


@dataclass(slots=True)
class _Group:
    """Policies that isolate some pods together in one direction."""

    direction: Direction
    chain: str
    policies: tuple[Key, ...]
    pods: set[Key] = field(default_factory=set)
    selectors: set[Selector] = field(default_factory=set)
    ports: set[_PortName] = field(default_factory=set)


class Index:
    """The whole of what is known; `table` follows it.

    Args:
        node: The node whose pods are isolated here.
        family: Of the addresses that are judged.
    """

    def __init__(self, node: str, family: Family = Family.IPV4) -> None:
        self.table = Table(family=family)
        self._family = family
        self.policies: dict[Key, Policy] = {}
        self._node = node
        self._in: dict[str, set[Key]] = {}
        self._pods: dict[Key, PodFacts] = {}
        self._pods_in: dict[str, set[Key]] = {}
        self._owners: dict[str, Key] = {}
        self._labels: dict[str, Mapping[str, str]] = {}
        self._groups: dict[tuple[Direction, tuple[Key, ...]], _Group] = {}
        self._group_of: dict[tuple[Direction, Key], _Group] = {}
        self._users: dict[Selector, int] = {}
        self._narrow: dict[str, set[Selector]] = {}
        self._wide: set[Selector] = set()
        self._port_users: dict[_PortName, int] = {}

    def put_policy(self, key: Key, policy: Policy | None) -> None:
        """Take a policy in, new or changed; None removes it."""
        if self.policies.get(key) == policy:
            return
        here = self._in.setdefault(key.namespace, set())
        if policy is None:
            del self.policies[key]
            here.discard(key)
        else:
            self.policies[key] = policy
            here.add(key)
        self._isolate(self._pods_in.get(key.namespace, set()))
        for group in self._groups.values():
            if key in group.policies:
                self._write(group)

    def put_pod(self, key: Key, pod: PodFacts | None) -> None:
        """Take a pod in, new or changed; None when it is gone or has no address of its own."""
        old = self._pods.get(key)
        if old == pod:
            return
        if old is not None:
            self._forget(old)
        if pod is None:
            return
        address = str(pod.pod_ip)
        owner = self._owners.get(address)
        if owner is not None:
            if self._pods[owner].created > pod.created:
                return  # what is left of a pod whose address another has by now
            self._forget(self._pods[owner])
        self._pods[key] = pod
        self._owners[address] = key
        labels = self._labels_of(key.namespace)
        for selector in (*self._narrow.get(key.namespace, ()), *self._wide):
            if selector.matches(pod, labels):
                self.table.put(compile.set_name(selector), address)
        for name, number in pod.ports.items():
            if name in self._port_users:
                self.table.put(compile.port_set_name(*name), f"{address} . {number}")
        if pod.node == self._node:
            self._pods_in.setdefault(key.namespace, set()).add(key)
            self._isolate((key,))

    def put_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """Take a namespace's labels in; None when it is gone."""
        if self._labels.get(name) == labels:
            return
        if labels is None:
            del self._labels[name]
        else:
            self._labels[name] = labels
        if not self._wide:
            return
        now = self._labels_of(name)
        for key, pod in self._pods.items():
            if key.namespace == name:
                for selector in self._wide:
                    self._choose(selector, pod, chosen=selector.matches(pod, now))

    def isolates(self, key: Key) -> bool:
        """Whether some policy isolates a local pod."""
        return any((direction, key) in self._group_of for direction in Direction)

    def _choose(self, selector: Selector, pod: PodFacts, *, chosen: bool) -> None:
        change = self.table.put if chosen else self.table.drop
        change(compile.set_name(selector), str(pod.pod_ip))

    def _labels_of(self, namespace: str) -> Mapping[str, str]:
        return namespace_labels(namespace, self._labels.get(namespace))

    def _forget(self, pod: PodFacts) -> None:
        address, key = str(pod.pod_ip), pod.key
        del self._pods[key], self._owners[address]
        for selector in (*self._narrow.get(key.namespace, ()), *self._wide):
            self.table.drop(compile.set_name(selector), address)
        for name, number in pod.ports.items():
            if name in self._port_users:
                self.table.drop(compile.port_set_name(*name), f"{address} . {number}")
        if pod.node == self._node:
            self._pods_in[key.namespace].discard(key)
            for direction in Direction:
                self._leave(direction, pod)
            self.table.drop(compile.SELF, f"{address} . {address}")

    def _isolate(self, keys: Iterable[Key]) -> None:
        for key in tuple(keys):
            pod = self._pods[key]
            mine = [
                self.policies[name]
                for name in sorted(self._in.get(key.namespace, ()))
                if self.policies[name].selects(pod)
            ]
            for direction in Direction:
                chosen = [policy for policy in mine if policy.rules(direction) is not None]
                self._join(direction, pod, chosen)
            pair = f"{pod.pod_ip} . {pod.pod_ip}"
            (self.table.put if mine else self.table.drop)(compile.SELF, pair)

    def _join(self, direction: Direction, pod: PodFacts, policies: list[Policy]) -> None:
        names = tuple(policy.key for policy in policies)
        old = self._group_of.get((direction, pod.key))
        if old is not None and old.policies == names:
            return
        if names:
            self.table.put(
                compile.MAP[direction],
                str(pod.pod_ip),
                f"jump {compile.chain_name(direction, policies)}",
            )
        self._leave(direction, pod, stays=bool(names))
        if not names:
            return
        group = self._groups.get((direction, names))
        if group is None:
            group = _Group(direction, compile.chain_name(direction, policies), names)
            self._groups[direction, names] = group
            self._write(group)
        group.pods.add(pod.key)
        self._group_of[direction, pod.key] = group

    def _leave(self, direction: Direction, pod: PodFacts, *, stays: bool = False) -> None:
        group = self._group_of.pop((direction, pod.key), None)
        if group is None:
            return
        if not stays:
            self.table.drop(compile.MAP[direction], str(pod.pod_ip))
        group.pods.discard(pod.key)
        if not group.pods:
            del self._groups[direction, group.policies]
            self.table.drop_chain(group.chain)
            self._use(group, set(), set())

    def _write(self, group: _Group) -> None:
        """Compile a group's chain, with the sets it names."""
        direction = group.direction
        policies = [self.policies[key] for key in group.policies]
        rules = [rule for policy in policies for rule in policy.rules(direction) or ()]
        self._use(
            group,
            {selector for rule in rules for selector in rule.selectors()},
            {(p.name, p.protocol) for rule in rules for p in rule.ports or () if p.name},
        )
        self.table.put_chain(group.chain, compile.chain(direction, policies, self._family))

    def _use(self, group: _Group, selectors: set[Selector], ports: set[_PortName]) -> None:
        for selector in selectors - group.selectors:
            count = self._users[selector] = self._users.get(selector, 0) + 1
            if count == 1:
                self._fill(selector)
        for name in ports - group.ports:
            count = self._port_users[name] = self._port_users.get(name, 0) + 1
            if count == 1:
                self._fill_port(name)
        for selector in group.selectors - selectors:
            self._users[selector] -= 1
            if not self._users[selector]:
                del self._users[selector]
                self._narrow.get(selector.namespace, set()).discard(selector)
                self._wide.discard(selector)
                self.table.drop_set(compile.set_name(selector))
        for name in group.ports - ports:
            self._port_users[name] -= 1
            if not self._port_users[name]:
                del self._port_users[name]
                self.table.drop_set(compile.port_set_name(*name))
        group.selectors, group.ports = selectors, ports

    def _fill(self, selector: Selector) -> None:
        name = compile.set_name(selector)
        self.table.put_set(name, compile.set_definition(selector, self._family))
        if selector.namespace:
            self._narrow.setdefault(selector.namespace, set()).add(selector)
        else:
            self._wide.add(selector)
        for key, pod in self._pods.items():
            if selector.matches(pod, self._labels_of(key.namespace)):
                self.table.put(name, str(pod.pod_ip))

    def _fill_port(self, name: _PortName) -> None:
        made = compile.port_set_name(*name)
        self.table.put_set(made, compile.port_set_definition(self._family))
        for pod in self._pods.values():
            number = pod.ports.get(name)
            if number is not None:
                self.table.put(made, f"{pod.pod_ip} . {number}")
