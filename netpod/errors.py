"""Every error netpod raises on purpose.

    NetpodError                 retryable = False, exit_code = 1
    ├── UsageError              the request itself is wrong; exit_code = 2
    ├── ApiError                code, reason, details = metav1.Status
    │   ├── BadRequest          400
    │   ├── Unauthorized        401
    │   ├── Forbidden           403
    │   ├── NotFound            404
    │   ├── MethodNotAllowed    405
    │   ├── NotAcceptable       406
    │   ├── Conflict            409, the revision moved on; retryable
    │   ├── AlreadyExists       409
    │   ├── Expired             410
    │   ├── TooLarge            413
    │   ├── UnsupportedMediaType 415
    │   ├── Invalid             422, one FieldError per cause
    │   ├── TooManyRequests     429; retryable
    │   └── Unavailable         500, 503, 504 or no answer; retryable
    ├── KernelError             netns, operation, errno; retryable
    │   ├── CommandFailed       argv, exit status, stderr
    │   └── Unsupported         the machine lacks a feature; not retryable, exit_code = 4
    ├── Exhausted               a pool is empty: pod CIDR, cluster IPs, node ports; retryable
    └── Unschedulable           one reason per node; retryable

Messages read `cannot <verb> <kind> <name>: <cause>`: lower case, no full stop, the cause chained with `from`.
`retryable` is read by client/workqueue.py and `exit_code` by cli/main.py, nowhere else.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class NetpodError(Exception):
    """Something netpod could not do, said in one line for the person who asked."""

    retryable: bool = False
    exit_code: int = 1


class UsageError(NetpodError):
    """The command line or a configuration file asks for something that cannot be."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One field a manifest got wrong; `reason` is upstream's CauseType, e.g. FieldValueInvalid.

    Source: k8s.io/apimachinery pkg/util/validation/field/errors.go.
    """

    field: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class ApiError(NetpodError):
    """The API server refused; mirrors metav1.Status.

    Attributes:
        code: HTTP status.
        reason: metav1.StatusReason, e.g. "NotFound".
        details: `status.details` (name, group, kind, causes, retryAfterSeconds), or empty.
    """

    code: int = 500
    reason: str = "InternalError"

    def __init__(self, message: str, *, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.details: Mapping[str, object] = details or {}


class BadRequest(ApiError):
    """The request cannot be understood: malformed body, unknown parameter value, wrong type."""

    code = 400
    reason = "BadRequest"


class Unauthorized(ApiError):
    """No credentials, or credentials nobody issued."""

    code = 401
    reason = "Unauthorized"


class Forbidden(ApiError):
    """Known user, not allowed to do this."""

    code = 403
    reason = "Forbidden"


class NotFound(ApiError):
    """No such object, resource or path."""

    code = 404
    reason = "NotFound"


class UnknownPath(NotFound):
    """No API group, document or check is served at a path; said in plain text, as upstream says it."""


class MethodNotAllowed(ApiError):
    """The resource exists but does not support this verb."""

    code = 405
    reason = "MethodNotAllowed"


class NotAcceptable(ApiError):
    """None of the content types in Accept can be served."""

    code = 406
    reason = "NotAcceptable"


class UnknownMedia(NotAcceptable):
    """Not one of the content types in Accept is known, whatever its parameters."""


class Conflict(ApiError):
    """The object changed since it was read; read it again and retry."""

    code = 409
    reason = "Conflict"
    retryable = True


class AlreadyExists(ApiError):
    """An object of that name is already there."""

    code = 409
    reason = "AlreadyExists"


class Expired(ApiError):
    """The resourceVersion asked for is compacted; list again."""

    code = 410
    reason = "Expired"


class Continued(Expired):
    """A list cannot be continued as it was; `token` continues with what is there now."""

    def __init__(self, message: str, token: str) -> None:
        super().__init__(message)
        self.token = token


class TooLarge(ApiError):
    """The body exceeds the limit."""

    code = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    """The body's content type is not one this resource reads."""

    code = 415
    reason = "UnsupportedMediaType"


class UnknownContentType(UnsupportedMediaType):
    """No patch has the body's content type, whatever it is a patch of."""


class Invalid(ApiError):
    """The object was understood and is wrong; `causes` says which fields.

    Raised by the API server for validation failures and by the client when it gets such an answer.
    """

    code = 422
    reason = "Invalid"

    def __init__(
        self,
        message: str,
        *,
        causes: Sequence[FieldError] = (),
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, details=details)
        self.causes = tuple(causes)


class TooManyRequests(ApiError):
    """The server is shedding load; retry after details["retryAfterSeconds"]."""

    code = 429
    reason = "TooManyRequests"
    retryable = True


class Timeout(ApiError):
    """What was asked for did not come in time, e.g. a revision that is later than the store's; retry."""

    code = 504
    reason = "Timeout"
    retryable = True


class Unavailable(ApiError):
    """The API server is down, starting, or failed inside; retry."""

    code = 503
    reason = "ServiceUnavailable"
    retryable = True


class InsufficientStorage(Unavailable):
    """The disk under the store is full; nothing was written, reads go on. Retry when there is room."""

    code = 507
    reason = "InsufficientStorage"


class KernelError(NetpodError):
    """The kernel refused an operation.

    Attributes:
        errno: The kernel's error number, or 0 when a program failed without one.
        netns: Name of the network namespace the operation ran in, or "" for this process's own.
    """

    retryable = True

    def __init__(self, message: str, *, errno: int = 0, netns: str = "") -> None:
        where = f" in {netns}" if netns else ""
        why = f": {os.strerror(errno).lower()}" if errno else ""
        super().__init__(f"{message}{where}{why}")
        self.errno = errno
        self.netns = netns


class CommandFailed(KernelError):
    """A program exited with an error.

    Attributes:
        argv: The command, pasteable through `shlex.join`.
        status: Its exit status (negative: the signal that ended it).
        stderr: What it said, whole.
        stdout: What it wrote before, where that is kept.
    """

    def __init__(
        self,
        argv: Sequence[str],
        status: int,
        stderr: str,
        *,
        errno: int = 0,
        netns: str = "",
        stdout: bytes = b"",
    ) -> None:
        said = stderr.strip().splitlines()
        super().__init__(
            f"cannot run {shlex.join(argv)}: exit status {status}"
            + (f": {said[-1]}" if said else ""),
            netns=netns,
        )
        self.argv = tuple(argv)
        self.status = status
        self.stderr = stderr
        self.stdout = stdout
        self.errno = errno


class Unsupported(KernelError):
    """This machine lacks a kernel feature or a program; the message says how to get it."""

    retryable = False
    exit_code = 4


class Exhausted(NetpodError):
    """Every member of a pool is taken."""

    retryable = True


class Unschedulable(NetpodError):
    """No node fits the pod; `reasons` maps each reason to the number of nodes that gave it."""

    retryable = True

    def __init__(self, message: str, *, reasons: Mapping[str, int]) -> None:
        super().__init__(message)
        self.reasons = dict(reasons)
