"""Verbs that take a file: a path is of the operator's, and read in the console."""

from __future__ import annotations

from pathlib import Path

import pytest

from veo_shell.console.files import services, taken
from veo_shell.core.model import Service
from veo_shell.errors import ConfigError

WEB = Service(name="web", image="nginx")
PLAN = "container_sup.plan"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.yml"
    path.write_text("services: {web: {image: nginx}}")
    return path


def test_a_path_becomes_its_services(file: Path) -> None:
    assert taken(PLAN, (str(file), True), {}) == (((WEB,), True), {})
    assert taken(PLAN, (file,), {}) == (((WEB,),), {})
    assert taken(PLAN, (), {"file": file, "prune": True}) == (
        (),
        {"file": (WEB,), "prune": True},
    )


def test_all_else_is_for_the_node(file: Path) -> None:
    assert taken(PLAN, (), {}) == ((), {})
    assert taken(PLAN, ([WEB],), {}) == (([WEB],), {})
    assert taken(PLAN, (None,), {}) == ((None,), {})
    assert taken("container_sup.remove_service", ("web",), {}) == (("web",), {})


def test_what_is_wrong_in_a_file_is_told(file: Path) -> None:
    file.write_text("services: {web: {imge: nginx}}")
    with pytest.raises(ConfigError, match=r"cluster\.yml:1: services\.web\.imge"):
        services(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        services("/nowhere/cluster.yml")
