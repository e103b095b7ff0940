"""The pages of the docs that are walkthroughs, run as they stand there on real nodes.

By `veo check-session`, beside the first node.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import nginx_image
from tests.local_node import (
    DNS_PORT,
    ROOT,
    LocalNode,
    Said,
    environment,
    eventually,
    nodes_in,
)

YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Page -> the nodes that it is about, and with what each is started.
PAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "the-file": {"uno": ()},
    "updates": {"uno": ()},
    "placement": {"uno": ("--label", "disk=ssd"), "dos": ()},
    "logs": {"uno": (), "dos": ()},
    "variants": {"uno": ()},
    "tour": {"uno": (), "dos": ()},
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
        (uno.folder / "cluster.yml").write_text("services: {}\n")
        run(uno, "apply", "--prune", "--yes", "cluster.yml")


def run(node: LocalNode, *argv: str) -> Said:
    """Run `veo` beside the node, with a shell that has it too."""
    folder = node.folder / "bin"
    folder.mkdir(exist_ok=True)
    veo = folder / "veo"
    veo.write_text(f'#!/bin/sh\nexec {sys.executable} -m veo_shell "$@"\n')
    veo.chmod(0o755)
    path = f"{folder}:{environment(node.folder)['PATH']}"
    variables = {"VEO_RUN_DIR": str(node.run_dir), "DOCKER_HOST": node.engine_url}
    return node.veo(*argv, PATH=path, **variables)


def check(node: LocalNode, page: str) -> None:
    """Have a page be true; its blocks of YAML are written to `cluster.yml` in turn."""
    *parts, last = YAML.split(page)
    for told, file in zip(parts[::2], parts[1::2], strict=True):
        check_part(node, told)
        (node.folder / "cluster.yml").write_text(file)
    check_part(node, last)


def check_part(node: LocalNode, told: str) -> None:
    if "```" in told:
        (node.folder / "page.md").write_text(told)
        said = run(node, "check-session", "--yes", "--timeout", "90", "page.md")
        assert said.status == 0 or "no line in it begins" in said.err, said.err


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("page", "nodes"), PAGES.items(), ids=PAGES, indirect=["nodes"]
)
def test_the_page_is_true(page: str, nodes: list[LocalNode]) -> None:
    check(nodes[0], (ROOT / "docs" / f"{page}.md").read_text())


CONFIG = ("--config", str(ROOT / "examples" / "cluster.yml"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("nodes", [{"uno": CONFIG, "dos": CONFIG}], indirect=True)
def test_the_walkthrough_of_the_readme_is_true(nodes: list[LocalNode]) -> None:
    uno, dos = nodes
    (uno.folder / "bin").mkdir()
    dig = uno.folder / "bin" / "dig"
    hosts = f"s/@uno/@{uno.address}/; s/@dos/@{dos.address}/"
    dig.write_text(
        f"#!/bin/sh\nexec {shutil.which('dig')} -p {DNS_PORT} "
        f'$(echo "$@" | sed "{hosts}")\n'
    )
    dig.chmod(0o755)
    readme = (ROOT / "README.md").read_text()
    _, _, told = readme.partition("## The walkthrough\n")
    check(uno, told.partition("\n## ")[0])
