"""How long to wait before a container is started again (pure; time comes in).

The first restart is immediate, then 10, 20, 40, 80, 160, 300 s after the container ended. A container that ran ten
minutes starts over. Source: kubernetes pkg/kubelet/kuberuntime doBackOff, client-go util/flowcontrol/backoff.go.
"""

INITIAL = 10.0
LONGEST = 300.0
RESET_AFTER = 2 * LONGEST


class Backoff:
    """Of one container of one pod; another spec is another container. All times are seconds of one clock."""

    def __init__(self) -> None:
        self._delay = 0.0
        self._last = 0.0

    def remaining(self, ended: float, now: float) -> float:
        """Seconds until a container that ended at `ended` may start; 0 when it may now."""
        if self._expired(ended):
            return 0.0
        return max(0.0, ended + self._delay - now) if self._delay else 0.0

    def next(self, ended: float, now: float) -> None:
        """A restart happens now: the one after it waits longer."""
        if self._expired(ended):
            self._delay = 0.0
        self._delay = min(LONGEST, self._delay * 2) if self._delay else INITIAL
        self._last = now

    @property
    def delay(self) -> float:
        """Seconds the next restart waits after the end."""
        return self._delay

    def _expired(self, ended: float) -> bool:
        return ended - self._last > RESET_AFTER
