"""The kinds of events: all are in the docs, in their words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from veo_shell.core import kinds
from veo_shell.core.model import Status

ROOT = Path(__file__).parents[2]
SECTIONS = {
    "Containers": kinds.CONTAINERS,
    "Instances": kinds.INSTANCES,
    "Services": kinds.SERVICES,
    "Nodes": kinds.NODES,
    "Records": kinds.RECORDS,
    "Following": kinds.FOLLOWED,
}


def test_the_docs_have_every_kind_and_its_meaning() -> None:
    text = (ROOT / "docs" / "events.md").read_text()
    _, *parts = re.split(r"^### (.*)\n", text, flags=re.MULTILINE)
    titles, bodies = parts[::2], parts[1::2]
    told = {
        title: dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", body, re.MULTILINE))
        for title, body in zip(titles, bodies, strict=True)
    }
    assert told == SECTIONS


def test_no_two_parts_have_one_kind() -> None:
    assert sum(map(len, SECTIONS.values())) == len(kinds.KINDS)
    assert set(kinds.VERDICTS) <= set(kinds.NODES)


def test_a_kind_is_one_word_to_programs() -> None:
    assert all(re.fullmatch("[a-z_]+", kind) for kind in kinds.KINDS)


@pytest.mark.parametrize("status", Status)
def test_every_verdict_has_a_kind(status: Status) -> None:
    kind = kinds.verdict(status)
    assert kind in kinds.VERDICTS
    assert kinds.topic(kind) == "verdict"


def test_what_stands_is_the_last_of_a_topic() -> None:
    assert kinds.topic("engine_back") == kinds.topic("engine_lost")
    assert kinds.topic("placed") == "placed"
