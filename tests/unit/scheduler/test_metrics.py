"""What the scheduler tells of itself."""

from netpod import metrics
from netpod.api.meta import Key
from netpod.scheduler.metrics import SCHEDULED, UNSCHEDULABLE, Metrics
from netpod.scheduler.queue import SchedulingQueue


def test_a_pod_that_waits_and_is_bound_is_counted() -> None:
    """Each attempt by its result; the way to a node from the first attempt on; queues by upstream's names."""
    now = [10.0]
    counted = Metrics("default-scheduler")
    queue = SchedulingQueue(lambda: now[0], counted)
    counted.pending = queue.pending
    key = Key("shop", "web")
    queue.add(key, 0)
    assert queue.pending()["active"] == 1
    counted.tried(key, now[0])
    queue.park(key, 0)
    counted.ended(UNSCHEDULABLE, 0.002)
    assert queue.pending() == {"active": 0, "backoff": 0, "unschedulable": 1, "gated": 0}
    queue.move()
    assert queue.pending()["backoff"] == 1
    now[0] = 13.0
    counted.tried(key, now[0])
    counted.ended(SCHEDULED, 0.004)
    counted.bound(key, now[0])
    counted.preempted(2)
    lines = metrics.text(counted.families()).decode().splitlines()
    profile = 'profile="default-scheduler"'
    for line in (
        f'scheduler_schedule_attempts_total{{{profile},result="scheduled"}} 1.0',
        f'scheduler_schedule_attempts_total{{{profile},result="unschedulable"}} 1.0',
        "scheduler_pod_scheduling_attempts_sum 2.0",
        'scheduler_pod_scheduling_sli_duration_seconds_sum{attempts="2"} 3.0',
        'scheduler_queue_incoming_pods_total{event="PodAdd",queue="active"} 1.0',
        "scheduler_preemption_attempts_total 1.0",
        "scheduler_preemption_victims_sum 2.0",
    ):
        assert line in lines, line
