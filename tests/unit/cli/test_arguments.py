"""How the command line reads what kubectl's users type."""

import click
import pytest

from netpod.cluster import config
from netpod.errors import BadRequest, Unavailable, UsageError
from netpod_cli import context, main


def _command(name: str) -> click.Command:
    command = main.netpod.get_command(click.Context(main.netpod), name)
    assert command is not None
    return command


@pytest.mark.parametrize("name", main._COMMANDS)
def test_every_command_has_a_help_page(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The page names the command; asking for it is no error."""
    assert main.run([name, "--help"]) == 0
    assert f"Usage: netpod {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "pod", "container", "program"),
    [
        ("p -- ls -l", "p", "", ("ls", "-l")),
        ("p ip -br a", "p", "", ("ip", "-br", "a")),
        ("-c web p -- ls", "p", "web", ("ls",)),
        ("p -c web -- ls -c x", "p", "web", ("ls", "-c", "x")),
        ("p -i -c web -- cat", "p", "web", ("cat",)),
        ("p sh -c x -- y", "p", "", ("sh", "-c", "x", "--", "y")),
    ],
)
def test_options_of_exec_may_follow_the_pod(
    argv: str, pod: str, container: str, program: tuple[str, ...]
) -> None:
    """Up to `--` they are ours, without it all after the pod is the program's."""
    found = _command("exec").make_context("exec", argv.split()).params
    command = tuple(word for i, word in enumerate(found["command"]) if i or word != "--")
    assert (found["pod"], found["container"], command) == (pod, container, program)


def test_flags_may_have_a_value() -> None:
    """`--wait=false` is `--no-wait`; a flag without an opposite is left out; other options stay."""
    words = ["--wait=false", "--all=true", "--force=false", "--timeout=true", "--", "--all=true"]
    assert main._plain_flags(_command("delete"), words) == [
        "--no-wait",
        "--all",
        "--timeout=true",
        "--",
        "--all=true",
    ]


@pytest.mark.parametrize(
    "argv",
    [
        "logs p --tail -5",
        "logs p --limit-bytes -1",
        "logs p -f --max-log-requests 0",
        "trace --icmp node/worker --ttl 0",
        "trace --icmp node/worker --size -1",
        "capture all -c -1",
    ],
)
def test_a_number_out_of_range_is_refused_with_the_range(
    argv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any cluster is asked."""
    assert main.run(argv.split()) == 2
    assert "is not in the range" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cluster", "command"),
    [("netpod", "sudo netpod up"), ("shop", "sudo netpod --cluster shop up")],
)
def test_a_cluster_that_is_not_up_is_started_by_the_command_in_the_error(
    cluster: str, command: str
) -> None:
    """The option is there where it is needed."""
    assert str(config.not_up(cluster)).endswith(f"{cluster} is up; start one with: {command}")


def test_a_mistake_on_the_command_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With the page that helps."""
    assert main.run(["scale", "deploy/a", "--replicas", "x"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: invalid value for '--replicas'")
    assert said.endswith("; see netpod scale --help\n")
    assert said.count("\n") == 1


def test_one_object_that_fails_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """Each error is one line; the exit code tells; but without an API server there is no next."""
    failures = context.Failures()
    with failures.said("cannot apply pod/a"):
        raise BadRequest("two\nlines")
    assert failures.code == 1
    assert capsys.readouterr().err == "error: cannot apply pod/a: two lines\n"
    with pytest.raises(Unavailable), failures.said():
        raise Unavailable("nobody answers")


@pytest.mark.parametrize(
    "words", [["pod", "x y"], ["pod/../svc"], ["pod/a/b"], ["svc/"], ["pod", ""], ["pod", "a?b=c"]]
)
def test_a_name_is_one_piece_of_a_path(words: list[str]) -> None:
    """What would ask for another path is refused before it is sent."""
    with pytest.raises(UsageError, match="invalid resource name"):
        context.targets(words)


def test_any_other_name_is_asked_for() -> None:
    """Roles are called system:this, pods a.b."""
    assert context.targets(["clusterroles", "system:node"])[0].name == "system:node"
    assert context.targets(["pod/a.b"])[0].name == "a.b"


@pytest.mark.parametrize(("given", "meant"), [("", "default"), ("team-a", "team-a")])
def test_an_empty_namespace_is_the_default(given: str, meant: str) -> None:
    """An unset variable must not mean all namespaces."""
    assert _command("get").make_context("get", ["-n", given, "pods"]).params["namespace"] == meant


def test_a_namespace_is_one_piece_of_a_path() -> None:
    """`../x` is none."""
    with pytest.raises(UsageError, match="invalid namespace"):
        _command("get").make_context("get", ["-n", "../x", "pods"])
