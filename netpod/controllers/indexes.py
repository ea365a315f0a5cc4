"""Sets of completion indexes as a Job's status writes them: "0,2-4" (pure).

Source: kubernetes pkg/controller/job/indexed_job_utils.go.
"""

from collections.abc import Iterable

from netpod.api.pod import Pod

INDEX = "batch.kubernetes.io/job-completion-index"


def parse(text: str | None, completions: int) -> set[int]:
    """Read indexes; those out of range and what is no number are left out."""
    found: set[int] = set()
    for part in filter(None, (text or "").split(",")):
        first, _, last = part.partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            found.update(range(int(first), min(int(last or first), completions - 1) + 1))
    return {index for index in found if index < completions}


def text(found: Iterable[int]) -> str:
    """Write indexes: two neighbours with a comma, three and more as a range."""
    parts: list[str] = []
    run: list[int] = []

    def end() -> None:
        if len(run) > 2:
            parts.append(f"{run[0]}-{run[-1]}")
        else:
            parts.extend(map(str, run))

    for index in sorted(found):
        if run and index != run[-1] + 1:
            end()
            run.clear()
        run.append(index)
    end()
    return ",".join(parts)


def of(pod: Pod) -> int | None:
    """Return a pod's completion index, None when it has none."""
    value = pod.metadata.annotations.get(INDEX, "")
    return int(value) if value.isdigit() else None
