"""What a real kube-apiserver answered to the stories is what ours answers."""

import asyncio
from pathlib import Path

import pytest

from tests.unit.apiserver_recorded import story
from tests.unit.apiserver_recorded.serving import told

NEWER = story.newer()


@pytest.mark.parametrize("name", story.stories())
def test_answers_are_the_real_servers(name: str, tmp_path: Path) -> None:
    """Code, headers and body of every step, but for what newer.jsonl gives a reason for."""

    async def body() -> None:
        async with asyncio.timeout(60), told(tmp_path) as teller:
            for (key, step), recorded in zip(story.keyed(name), story.answers(name), strict=True):
                wanted = NEWER.get(key, {"answer": recorded})["answer"]
                assert await teller.ask(step) == wanted, key

    asyncio.run(body())


def test_every_difference_is_of_a_step_and_has_a_reason() -> None:
    """A difference that is no longer asked about, or is none, is to be forgotten."""
    real = {
        key: recorded
        for name in story.stories()
        for (key, _), recorded in zip(story.keyed(name), story.answers(name), strict=True)
    }
    for key, line in NEWER.items():
        assert line["why"]
        assert real[key] != line["answer"], key
