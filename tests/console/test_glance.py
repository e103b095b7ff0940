"""What the prompt tells of the cluster, and that it waits for nobody."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.conftest import SampleNode
from tests.local_node import eventually
from veo_shell.console.client import Client
from veo_shell.console.glance import Glance


@pytest.fixture
def glance(node: SampleNode, tmp_path: Path) -> Iterator[Glance]:
    glance = Glance(Client(tmp_path, ping_every_ms=50))
    yield glance
    glance.close()


def test_before_anything_was_answered(node: SampleNode, tmp_path: Path) -> None:
    node.process.send_signal(signal.SIGSTOP)
    glance = Glance(Client(tmp_path, ping_every_ms=50))
    assert (glance.text, glance.is_well) == ("", True)
    node.process.send_signal(signal.SIGCONT)
    glance.close()


def test_it_counts_members_and_who_lives(
    glance: Glance, node: SampleNode, tmp_path: Path
) -> None:
    glance.look(5)
    assert (glance.text, glance.is_well) == ("2/2", True)
    client = Client(tmp_path)
    client.call("node_monitor.turn", "dead")
    client.close()
    glance.look(5)
    assert (glance.text, glance.is_well) == ("1/2", False)


def test_a_silent_node_is_waited_for_briefly(glance: Glance, node: SampleNode) -> None:
    glance.look(5)
    node.process.send_signal(signal.SIGSTOP)
    begun_s = time.monotonic()
    glance.look(0.1)
    assert time.monotonic() - begun_s < 2
    assert (glance.text, glance.is_well) == ("?/2", False)
    node.process.send_signal(signal.SIGCONT)
    eventually(lambda: glance.text == "2/2")


def test_a_node_that_is_gone(glance: Glance, node: SampleNode) -> None:
    node.process.kill()
    node.process.wait()
    glance.look(5)
    assert (glance.text, glance.is_well) == ("?", False)


def test_what_changes_is_told(glance: Glance) -> None:
    told: list[str] = []
    glance.changed = lambda: told.append(glance.text)
    glance.look(5)
    eventually(lambda: told == ["2/2"])
    glance.look(5)
    assert told == ["2/2"]


def test_names_are_asked_for_when_they_are_old(
    glance: Glance, node: SampleNode
) -> None:
    names = glance.names(5)
    assert glance.is_fresh
    assert [row["node"] for row in names.nodes] == ["uno@uno", "dos@dos", "tres@tres"]
    assert [row["name"] for row in names.file] == ["nginx"]
    assert [row["state"] for row in names.containers] == ["running", "backoff"]
    assert "count" in glance.verbs["container_sup"]
    assert names.services == []
    assert glance.names(5) is names is glance.known
