"""`veo plan`, on a cluster of fakes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.console.conftest import ROOT, environment

WEB = """
  web: {image: nginx:1, restart: always}
"""
WEB_2 = WEB.replace("always", "always, replicas: 2")
DB = """
  db: {image: redis:7, restart: always}
"""
NO_FILE = "\n  web: {image: a, imge: nginx}"


@attrs.frozen
class Cluster:
    """Two fake nodes; commands run beside the first, in a folder with `mine.yml`."""

    run_dir: Path

    def write(self, services: str) -> None:
        """Write the operator's file."""
        (self.run_dir / "mine.yml").write_text(f"services:{services or ' {}'}")

    def veo(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command as CI does: there is no terminal."""
        return subprocess.run(
            self.command(*argv),
            cwd=self.run_dir,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment(self.run_dir),
            timeout=60,
            check=False,
        )

    def command(self, *argv: str) -> list[str]:
        """Return how `veo` is called."""
        place = "--run-dir", str(self.run_dir)
        return [sys.executable, "-m", "veo_shell", argv[0], *place, *argv[1:]]

    def console(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run code in a session."""
        return self.veo("attach", "-c", code)

    def plan(self, services: str, *options: str) -> tuple[int, list[str]]:
        """Run `veo plan`; return its status and its lines."""
        self.write(services)
        said = self.veo("plan", "mine.yml", *options)
        assert said.stderr == ""
        return said.returncode, said.stdout.splitlines()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Have a cluster in a process of its own."""
    command = [sys.executable, "-m", "tests.console.fake_node", str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield Cluster(tmp_path)
        process.terminate()


# veo plan


def test_the_status_of_a_plan_tells_whether_there_is_something_to_do(
    cluster: Cluster,
) -> None:
    status, lines = cluster.plan(WEB_2)
    assert (status, lines[0], lines[-1]) == (
        2,
        "+ web: nginx:1, 2 replicas",
        "1 to add",
    )
    assert sorted(lines[1].split()) == ["dos@dos", "on", "uno@uno,"] or sorted(
        lines[1].split()
    ) == ["dos@dos,", "on", "uno@uno"]
    add = "container_sup.add_service(settings.get_applications('mine.yml')[0])"
    assert cluster.console(add).returncode == 0
    assert cluster.plan(WEB_2) == (0, ["  kept: web", "nothing to do, 1 kept"])
    assert cluster.plan(DB, "--prune")[1][-1] == "1 to add, 1 to remove"
    assert cluster.plan("") == (
        0,
        ["  left alone: web (added by hand)", "nothing to do, 1 left alone"],
    )


def test_what_is_wrong_has_another_status_than_something_to_do(
    cluster: Cluster,
) -> None:
    cluster.write(NO_FILE)
    said = cluster.veo("plan", "mine.yml")
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == (
        "veo: mine.yml:2: services.web.imge: unknown key; did you mean `image`?\n"
    )
    assert cluster.veo("plan", "yours.yml").returncode == 1
    assert cluster.veo("plan").returncode == 1
    assert cluster.veo("plan", "mine.yml", "--prunes").returncode == 1
    nowhere = Cluster(cluster.run_dir / "nowhere")
    nowhere.run_dir.mkdir()
    nowhere.write(WEB)
    assert nowhere.veo("plan", "mine.yml").returncode == 3


def test_the_console_takes_a_file_of_the_operators(cluster: Cluster) -> None:
    cluster.write(WEB)
    said = cluster.console("container_sup.plan('mine.yml', prune=True)")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.splitlines()[-1] == "1 to add"
    said = cluster.console("container_sup.plan()")
    assert said.returncode == 1
    assert said.stderr.startswith("ConfigError: the node was started without a cluster")
    said = cluster.console("container_sup.plan('yours.yml')")
    assert said.stderr.startswith("ConfigError: yours.yml: cannot be read: No such fil")
