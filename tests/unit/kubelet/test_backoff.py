"""How long a crashed container waits."""

from netpod.kubelet.backoff import LONGEST, Backoff


def test_first_restart_is_immediate_then_doubles_to_five_minutes() -> None:
    """0, 10, 20, 40, 80, 160, 300, 300 seconds after each end."""
    backoff = Backoff()
    now = 1000.0
    waits = []
    for _ in range(8):
        wait = backoff.remaining(now, now)
        waits.append(wait)
        now += wait
        backoff.next(now, now)
        now += 1.0
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]


def test_waiting_counts_from_the_end_of_the_container() -> None:
    """Time that passed since the end is not waited again."""
    backoff = Backoff()
    backoff.next(0.0, 0.0)
    assert backoff.remaining(5.0, 12.0) == 3.0
    assert backoff.remaining(5.0, 99.0) == 0.0


def test_a_long_run_starts_over() -> None:
    """A container that ran ten minutes restarts at once again."""
    backoff = Backoff()
    for _ in range(10):
        backoff.next(0.0, 0.0)
    later = 2 * LONGEST + 1
    assert backoff.remaining(later, later) == 0.0
    backoff.next(later, later)
    assert backoff.delay == 10.0
