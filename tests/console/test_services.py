"""What a session is given of services, and what it can do with that.

On two real nodes with fake engines.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.conftest import ROOT, environment

FILE = """\
services:
  web: {image: "nginx:1", restart: always, ports: [80]}
"""


class Console:
    """Code that is run in sessions of a node."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir

    def __call__(self, code: str) -> str:
        """Run code; return what it prints."""
        said = self.veo("attach", "--yes", "-c", code)
        assert (said.returncode, said.stderr) == (0, "")
        return said.stdout

    def veo(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `veo`."""
        veo = [sys.executable, "-m", "veo_shell", command]
        return subprocess.run(
            [*veo, "--run-dir", str(self._run_dir), *options],
            cwd=self._run_dir,
            env=environment(self._run_dir),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """Have a cluster in a process of its own, whose first node has a file."""
    (tmp_path / "cluster.yml").write_text(FILE)
    command = [sys.executable, "-m", "tests.console.fake_node", str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield Console(tmp_path)
        process.terminate()


def test_what_was_added_leads_on_as_a_container_does(console: Console) -> None:
    said = console(
        "(t,) = settings.get_applications()\n"
        "added = container_sup.add_service(t)\n"
        "added.again().name == added.name\n"
        "added.inspect()['Name'] == '/' + added.name\n"
        "added.stop().what == added.name + ' stopped'\n"
        "container_sup.cloud_containers()\n"
    )
    assert said.splitlines() == ["True", "True", "True", "[]"]
