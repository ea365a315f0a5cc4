"""Why a container cannot be started, in upstream's words."""

from netpod.errors import NetpodError


class CannotStart(NetpodError):
    """A container cannot be started; `reason` is what its waiting state says.

    Attributes:
        reason: Upstream's word, e.g. ErrImagePull, CreateContainerConfigError.
        event: Reason of the event that tells of it.
    """

    retryable = True

    def __init__(self, reason: str, message: str, *, event: str = "Failed") -> None:
        super().__init__(message)
        self.reason = reason
        self.event = event


def misconfigured(message: str) -> CannotStart:
    """The container's configuration cannot be made."""
    return CannotStart("CreateContainerConfigError", message)
