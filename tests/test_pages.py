"""The pages of the docs that are walkthroughs, run as they stand there on real nodes.

A block of YAML is written to `cluster.yml`. A line that begins with `$` is run by a
shell beside the first node, one with `(uno@uno 2/2)1>` in its console; each has to say
what follows, where `…` stands for anything.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import nginx_image
from tests.local_node import ROOT, LocalNode, environment, eventually, nodes_in

BLOCK = re.compile(r"^```(yaml)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STEP = re.compile(
    r"^(?P<prompt>\$|\(uno@uno \d/\d\)\d+>) (?P<typed>.*)\n"
    r"(?P<said>(?:(?!\$ |\(uno@uno \d/\d\)\d+> ).*\n)*)",
    re.MULTILINE,
)
# Page -> the nodes that it is about, and with what each is started.
PAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "the-file": {"uno": ()},
    "updates": {"uno": ()},
    "placement": {"uno": ("--label", "disk=ssd"), "dos": ()},
    "logs": {"uno": (), "dos": ()},
    "variants": {"uno": ()},
}


@pytest.fixture
def nodes(
    docker_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[list[LocalNode]]:
    """Have the nodes of a page, and the image that it is about; leave nothing."""
    try:
        nginx_image.provide(docker_url)
    except nginx_image.BuildFailed as error:
        pytest.skip(str(error))
    with nodes_in(tmp_path, docker_url) as make:
        made: list[LocalNode] = []
        for name, options in request.param.items():
            node = make(name)
            node.up(*options, *(("--join", made[0].address) if made else ()))
            made.append(node)
        uno = made[0]
        eventually(lambda: len(uno.status()["nodes"]) == len(made))
        yield made
        # The next node of that name would know again what is left.
        no_service = "echo 'services: {}' > cluster.yml"
        run(uno, f"{no_service}; veo apply --prune --yes cluster.yml")


def run(node: LocalNode, command: str) -> str:
    """Run a command line beside the node; return what it prints, but complaints."""
    (node.folder / "bin").mkdir(exist_ok=True)
    veo = node.folder / "bin" / "veo"
    veo.write_text(f'#!/bin/sh\nexec {sys.executable} -m veo_shell "$@"\n')
    veo.chmod(0o755)
    path = f"{veo.parent}:{environment(node.folder)['PATH']}"
    variables = {"VEO_RUN_DIR": str(node.run_dir), "DOCKER_HOST": node.engine_url}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=node.folder,
        env=environment(node.folder, PATH=path, **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=90,
        check=False,
    )
    return done.stdout


def is_said(expected: str, said: str) -> bool:
    """Tell whether a page says what was said, however wide the columns are."""
    parts = (re.escape(re.sub(" +", " ", part)) for part in expected.split("…"))
    said = re.sub(" +", " ", said)
    return re.fullmatch(".*".join(parts), said, re.DOTALL) is not None


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("page", "nodes"), PAGES.items(), ids=PAGES, indirect=["nodes"]
)
def test_the_page_is_true(page: str, nodes: list[LocalNode]) -> None:
    uno, steps = nodes[0], 0
    for kind, body in BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text()):
        if kind:
            (uno.folder / "cluster.yml").write_text(body)
            continue
        for prompt, typed, expected in STEP.findall(body):
            in_console = f"veo attach --yes -c {shlex.quote(typed)} 2>&1"
            said = run(uno, typed if prompt == "$" else in_console)
            assert is_said(expected, said), f"{typed}\n{said}"
            steps += 1
    assert steps > 5
