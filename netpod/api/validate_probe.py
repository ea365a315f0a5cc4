"""Rules for probes and lifecycle hooks.

Source: pkg/apis/core/validation/validation.go validateProbe, validateHandler.
"""

from collections.abc import Mapping

from netpod.api import validate_names
from netpod.api.pod import ExecAction, HTTPGetAction, Lifecycle, Probe, TCPSocketAction
from netpod.api.validate_errors import Errors
from netpod.api.validate_service import number_or_name


def probe(errors: Errors, value: Probe, path: str, *, readiness: bool) -> None:
    """Check a probe; only a readiness probe may need several successes."""
    handlers = {
        "exec": value.exec_,
        "httpGet": value.http_get,
        "tcpSocket": value.tcp_socket,
        "grpc": value.grpc,
    }
    _one_handler(errors, handlers, path)
    _exec(errors, value.exec_, f"{path}.exec")
    _http_get(errors, value.http_get, f"{path}.httpGet")
    _tcp_socket(errors, value.tcp_socket, f"{path}.tcpSocket")
    if value.grpc is not None:
        problems = validate_names.port_number(value.grpc.port)
        errors.each(f"{path}.grpc.port", value.grpc.port, problems)
    errors.non_negative(f"{path}.initialDelaySeconds", value.initial_delay_seconds)
    errors.non_negative(f"{path}.timeoutSeconds", value.timeout_seconds)
    errors.non_negative(f"{path}.periodSeconds", value.period_seconds)
    errors.non_negative(f"{path}.successThreshold", value.success_threshold)
    errors.non_negative(f"{path}.failureThreshold", value.failure_threshold)
    grace = value.termination_grace_period_seconds
    if readiness:
        if grace is not None:
            detail = "must not be set for readinessProbes"
            errors.invalid(f"{path}.terminationGracePeriodSeconds", grace, detail)
        return
    if grace is not None and grace <= 0:
        errors.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")
    if value.success_threshold != 1:
        errors.invalid(f"{path}.successThreshold", value.success_threshold, "must be 1")


def lifecycle(errors: Errors, value: Lifecycle | None, path: str) -> None:
    """Check the hooks of a container."""
    if value is None:
        return
    for name, hook in (("postStart", value.post_start), ("preStop", value.pre_stop)):
        if hook is None:
            continue
        at = f"{path}.{name}"
        handlers = {
            "exec": hook.exec_,
            "httpGet": hook.http_get,
            "tcpSocket": hook.tcp_socket,
            "sleep": hook.sleep,
        }
        _one_handler(errors, handlers, at)
        _exec(errors, hook.exec_, f"{at}.exec")
        _http_get(errors, hook.http_get, f"{at}.httpGet")
        _tcp_socket(errors, hook.tcp_socket, f"{at}.tcpSocket")


def _one_handler(errors: Errors, handlers: Mapping[str, object], path: str) -> None:
    named = [name for name, handler in handlers.items() if handler is not None]
    if not named:
        errors.required(path, "must specify a handler type")
    for name in named[1:]:
        errors.forbidden(f"{path}.{name}", "may not specify more than 1 handler type")


def _exec(errors: Errors, action: ExecAction | None, path: str) -> None:
    if action is not None and not action.command:
        errors.required(f"{path}.command")


def _http_get(errors: Errors, action: HTTPGetAction | None, path: str) -> None:
    if action is None:
        return
    if not action.path:
        errors.required(f"{path}.path")
    number_or_name(errors, action.port, f"{path}.port")
    errors.supported(f"{path}.scheme", action.scheme, ("HTTP", "HTTPS"))
    for header in action.http_headers:
        # Upstream names the list.
        problems = validate_names.http_header(header.name)
        errors.each(f"{path}.httpHeaders", header.name, problems)


def _tcp_socket(errors: Errors, action: TCPSocketAction | None, path: str) -> None:
    if action is not None:
        number_or_name(errors, action.port, f"{path}.port")
