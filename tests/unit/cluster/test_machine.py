"""Which machines a cluster has."""

import re

import pytest

from netpod.cluster import config as configuration
from netpod.cluster import machine
from netpod.cluster.config import ClusterConfig
from netpod.cluster.machine import Power
from netpod.errors import NotFound, UsageError


def test_a_new_machine_gets_the_lowest_free_number() -> None:
    """Its address on the underlay follows from the number, and nobody else's changes."""
    machines = machine.without(machine.first(3), "worker2")
    more = machine.added(machines, "spare", "c")
    assert [(it.name, it.number) for it in more] == [
        ("control-plane", 0),
        ("worker", 1),
        ("spare", 2),
        ("worker3", 3),
    ]
    found = {it.name: str(it.node_ips[0]) for it in ClusterConfig(machines=more).nodes}
    assert found["spare"] == "172.18.0.4"
    assert found["worker3"] == "172.18.0.5"


def test_without_a_name_it_is_the_next_worker() -> None:
    """Numbers of names that are free again are used again."""
    machines = machine.without(machine.first(2), "worker")
    assert machine.added(machines, "", "c")[1].name == "worker"
    assert machine.added(machine.first(0), "", "c")[1].name == "worker"


@pytest.mark.parametrize(
    "name", ["worker", "edge", "Worker", "a.b", "-a", "worker-a", "control", "x" * 64]
)
def test_names_that_no_node_can_have(name: str) -> None:
    """Taken, reserved, no DNS label, or such that its pods' namespaces could be another node's."""
    with pytest.raises(UsageError, match=f"cannot add node {re.escape(repr(name))}"):
        machine.added(machine.first(1), name, "c")


def test_a_machine_that_is_off_keeps_its_address_and_does_not_run() -> None:
    """It is still one of the nodes."""
    machines = machine.with_power(machine.first(2), "worker", Power.OFF)
    config = ClusterConfig(machines=machines)
    assert [it.name for it in config.running] == ["control-plane", "worker2"]
    assert [it.name for it in config.nodes] == ["control-plane", "worker", "worker2"]


def test_the_control_plane_is_not_switched() -> None:
    """The API server is reached through it."""
    with pytest.raises(UsageError, match="netpod stop"):
        machine.with_power(machine.first(1), "control-plane", Power.OFF)
    with pytest.raises(NotFound, match="there are control-plane, worker"):
        machine.with_power(machine.first(1), "nope", Power.OFF)


def test_a_deletion_that_was_begun_is_not_undone() -> None:
    """A node whose removal was cut short can only be removed."""
    machines = machine.with_power(machine.first(1), "worker", Power.LEAVING)
    with pytest.raises(UsageError, match="being deleted"):
        machine.with_power(machines, "worker", Power.ON)
    assert machine.with_power(machines, "worker", Power.LEAVING) == machines


def test_there_is_room_for_so_many_nodes_only() -> None:
    """Every node needs a /24 of the pod network."""
    config = ClusterConfig(pod_cidr="10.0.0.0/23", machines=machine.first(2))
    with pytest.raises(UsageError, match=r"3 nodes need a /24 each, it holds 2"):
        config.check_room()


def test_people_do_not_write_machines() -> None:
    """A configuration file says how many workers a cluster begins with."""
    assert not {"machines", "stopped"} & set(configuration.writable())
