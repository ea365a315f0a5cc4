"""netpod run."""

from typing import Any

import click

from netpod.errors import NotFound, UsageError
from netpod_cli import context


@click.command(
    "run",
    help="Make a pod: run NAME --image IMAGE [-- ARGUMENT...]. With -i it is attached to, with --rm deleted then.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True},
)
@click.option(
    "--image", required=True, help="Its image; netpod.dev/host runs a program of this machine."
)
@click.option("--port", type=int, default=0, help="A port it listens on.")
@click.option("--expose", is_flag=True, help="Make a Service of that port and name too.")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="A variable of its environment.")
@click.option("-l", "--labels", default="", metavar="A=B,C=D", help="Instead of run=NAME.")
@click.option(
    "--restart",
    default="Always",
    type=click.Choice(["Always", "OnFailure", "Never"]),
    help="Its restart policy.",
)
@click.option("--command", "is_command", is_flag=True, help="The arguments are the command.")
@click.option("-i", "--stdin", "stdin", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("--rm", "remove", is_flag=True, help="Delete it when it has ended.")
@context.namespace_options
@click.argument("name")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGUMENT...]")
def run_command(
    image: str,
    port: int,
    expose: bool,
    env: tuple[str, ...],
    labels: str,
    restart: str,
    is_command: bool,
    stdin: bool,
    tty: bool,
    remove: bool,
    namespace: str,
    name: str,
    arguments: tuple[str, ...],
) -> int:
    """Make one pod of one container."""
    if expose and not port:
        raise UsageError("--port must be set when exposing a service")
    if remove and not stdin:
        raise UsageError("--rm should only be used for attached containers")
    if tty and not stdin:
        raise UsageError("cannot use -t without -i")
    words = list(arguments[1:] if arguments[:1] == ("--",) else arguments)
    marks = _pairs(labels.split(",")) if labels else {"run": name}
    container: dict[str, Any] = {"name": name, "image": image}
    container |= {"command" if is_command else "args": words} if words else {}
    container |= {"ports": [{"containerPort": port}]} if port else {}
    container |= {"env": [{"name": k, "value": v} for k, v in _pairs(env).items()]} if env else {}
    container |= {"stdin": True, "stdinOnce": True, "tty": tty} if stdin else {}
    spec = {"containers": [container], "restartPolicy": restart}
    metadata = {"name": name, "labels": marks}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    api = context.api()
    target = context.targets([f"pod/{name}"])[0]
    api.request("POST", context.targets(["pods"])[0].path(namespace), body=pod)
    if not stdin:
        click.echo(f"pod/{name} created")
    if expose:
        ports = [{"port": port, "protocol": "TCP", "targetPort": port}]
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}}
        body = {**service, "spec": {"selector": marks, "ports": ports}}
        api.request("POST", context.targets(["services"])[0].path(namespace), body=body)
        click.echo(f"service/{name} created")
    if not stdin:
        return 0
    try:
        return _attached(name, namespace, tty=tty)
    finally:
        if remove:
            api.request("DELETE", target.path(namespace))
            click.echo(f'pod "{name}" deleted')


def _pairs(words: "list[str] | tuple[str, ...]") -> dict[str, str]:
    """Read NAME=VALUE each.

    Raises:
        UsageError: one has no `=`.
    """
    for word in words:
        if "=" not in word or word.startswith("="):
            raise UsageError(f"cannot read {word!r}: write NAME=VALUE")
    return dict(word.split("=", 1) for word in words)


def _attached(name: str, namespace: str, *, tty: bool) -> int:
    """Wait until the pod runs, join its streams, and return how it ended."""
    from netpod_cli import attach, logs

    pod = _until(name, namespace, ("running", "terminated"))
    if "running" not in _state(pod, name):
        logs.show(context.api(), pod, name, namespace)
        return _ended(pod, name)
    code = attach.attach(pod, name, namespace, stdin=True, tty=tty)
    if code or pod["spec"].get("restartPolicy") == "Always":
        return code
    return _ended(_until(name, namespace, ("terminated",)), name)


def _until(name: str, namespace: str, states: tuple[str, ...]) -> dict[str, Any]:
    """Wait until the container is in one of the states; return the pod as it is then."""
    import orjson

    api = context.api()
    pod: dict[str, Any] = api.request("GET", context.targets([f"pod/{name}"])[0].path(namespace))
    pods = context.targets(["pods"])[0].path(namespace)
    version = pod["metadata"]["resourceVersion"]
    query = {"watch": "true", "fieldSelector": f"metadata.name={name}", "resourceVersion": version}
    while not set(states) & set(_state(pod, name)):
        with api.stream(pods, query=query) as lines:
            for line in lines:
                event = orjson.loads(line)
                if event["type"] == "DELETED":
                    raise NotFound(f"cannot follow pod {name}: it was deleted")
                if event["type"] in ("ADDED", "MODIFIED"):
                    pod = event["object"]
                if set(states) & set(_state(pod, name)):
                    break
    return pod


def _state(pod: dict[str, Any], name: str) -> dict[str, Any]:
    found = pod["status"].get("containerStatuses") or ()
    return next((dict(it.get("state") or {}) for it in found if it["name"] == name), {})


def _ended(pod: dict[str, Any], name: str) -> int:
    return int(_state(pod, name).get("terminated", {}).get("exitCode", 0))
