"""The walkthrough `docs/the-file.md`, run as it stands there on a real engine."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import nginx_image
from tests.local_node import ROOT, LocalNode, environment, nodes_in

TEXT = (ROOT / "docs" / "the-file.md").read_text()
BLOCK = re.compile(r"^```(yaml)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


@pytest.fixture
def node(docker_url: str, tmp_path: Path) -> Iterator[LocalNode]:
    """Have a node that runs, and the image of the walkthrough; leave nothing."""
    try:
        nginx_image.provide(docker_url)
    except nginx_image.BuildFailed as error:
        pytest.skip(str(error))
    with nodes_in(tmp_path, docker_url) as make:
        node = make("uno")
        node.up()
        yield node
        # The next node of that name would know again what is left.
        run(
            node,
            "echo 'services: {}' > cluster.yml; veo apply --prune --yes cluster.yml",
        )


def run(node: LocalNode, command: str) -> str:
    """Run a command line beside the node; return what it prints, but complaints."""
    (node.folder / "bin").mkdir(exist_ok=True)
    veo = node.folder / "bin" / "veo"
    veo.write_text(f'#!/bin/sh\nexec {sys.executable} -m veo_shell "$@"\n')
    veo.chmod(0o755)
    path = f"{veo.parent}:{environment(node.folder)['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=node.folder,
        env=environment(node.folder, PATH=path, VEO_RUN_DIR=str(node.run_dir)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=90,
        check=False,
    )
    return done.stdout


@pytest.mark.timeout(300)
def test_the_walkthrough(node: LocalNode) -> None:
    commands = 0
    for kind, body in BLOCK.findall(TEXT):
        if kind:
            (node.folder / "cluster.yml").write_text(body)
            continue
        for command, expected in COMMAND.findall(body):
            assert run(node, command) == expected, command
            commands += 1
    assert commands > 10
