"""`veo plan` and `veo apply`, in CI and at a terminal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from tests.console.conftest import ROOT, environment
from tests.console.terminal import Terminal

WEB = """
  web: {image: nginx:1, restart: always}
"""
WEB_2 = WEB.replace("always", "always, replicas: 2")
DB = """
  db: {image: redis:7, restart: always}
"""
BAD = """
  bad: {image: redis:7, args: [bad]}
"""
CHECKED = """
  checked: {image: redis:7, health_check: {cmd: [CMD, look]}}
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

    def apply(self, services: str, *options: str) -> tuple[int, list[str], list[str]]:
        """Run `veo apply`; return its status, and the lines of its two outputs."""
        self.write(services)
        said = self.veo("apply", "mine.yml", *options)
        return said.returncode, said.stdout.splitlines(), said.stderr.splitlines()


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


@pytest.fixture
def terminal(cluster: Cluster) -> Iterator[Callable[..., Terminal]]:
    """Run `veo apply` of services at a terminal."""
    made: list[Terminal] = []

    def start(services: str, *options: str) -> Terminal:
        cluster.write(services)
        command = cluster.command("apply", str(cluster.run_dir / "mine.yml"), *options)
        env = environment(cluster.run_dir, TERM="xterm")
        made.append(Terminal(command, env, (24, 100)))
        return made[-1]

    yield start
    for each in made:
        each.close()


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
    assert cluster.apply(WEB_2, "--yes")[0] == 0
    assert cluster.plan(WEB_2) == (0, ["  kept: web", "nothing to do, 1 kept"])
    assert cluster.plan(DB, "--prune")[1][-1] == "1 to add, 1 to remove"
    assert cluster.plan("") == (
        0,
        [
            "  left alone: web (a file brought it, and it is not in this one)",
            "nothing to do, 1 left alone",
        ],
    )


def test_what_is_wrong_has_another_status_than_something_to_do(
    cluster: Cluster,
) -> None:
    cluster.write(NO_FILE)
    for command in ("plan", "apply"):
        said = cluster.veo(command, "mine.yml")
        assert (said.returncode, said.stdout) == (1, "")
        assert said.stderr == (
            "veo: mine.yml:2: services.web.imge: unknown key; did you mean `image`?\n"
        )
        assert cluster.veo(command, "yours.yml").returncode == 1
    assert cluster.veo("plan").returncode == 1
    assert cluster.veo("plan", "mine.yml", "--prunes").returncode == 1
    assert cluster.veo("apply").returncode == 2
    nowhere = Cluster(cluster.run_dir / "nowhere")
    nowhere.run_dir.mkdir()
    nowhere.write(WEB)
    assert nowhere.veo("plan", "mine.yml").returncode == 3


def test_the_console_takes_a_file_of_the_operators(cluster: Cluster) -> None:
    cluster.write(WEB)
    said = cluster.console("container_sup.plan('mine.yml', prune=True)")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.splitlines()[-1] == "1 to add"
    said = cluster.console("container_sup.apply(file='mine.yml')")
    assert (said.returncode, said.stdout, said.stderr) == (0, "web added\n", "")
    said = cluster.console("container_sup.apply(container_sup.plan('mine.yml'))")
    assert said.stdout == "nothing to do\n"
    said = cluster.console("container_sup.plan()")
    assert said.returncode == 1
    assert said.stderr.startswith("ConfigError: the node was started without a cluster")
    said = cluster.console("container_sup.apply('yours.yml')")
    assert said.stderr.startswith("ConfigError: yours.yml: cannot be read: No such fil")


TWO_OF_ONE_NAME = """services:
  web: {image: 'a:1', restart: always}
  web: {image: 'b:1', restart: always}
"""


def test_the_console_asks_before_a_file_removes_something(cluster: Cluster) -> None:
    first, second = cluster.run_dir / "v1.yml", cluster.run_dir / "v2.yml"
    first.write_text(TWO_OF_ONE_NAME)
    second.write_text(TWO_OF_ONE_NAME.replace("a:1", "c:1").replace("b:1", "d:1"))
    assert cluster.console("container_sup.apply('v1.yml')").returncode == 0
    for call in ("container_sup.apply('v2.yml')", "cluster.apply('v2.yml')"):
        said = cluster.console(call)
        assert (said.returncode, said.stdout) == (5, "")
        assert said.stderr.startswith("NotConfirmed: container_sup.apply takes someth")
    images = "sorted(s.image for s in container_sup.services())"
    assert cluster.console(images).stdout == "['a:1', 'b:1']\n"
    assert cluster.veo("apply", "v2.yml").returncode == 5
    sure = cluster.veo("attach", "--yes", "-c", "container_sup.apply('v2.yml')")
    assert sure.returncode == 0
    assert cluster.console(images).stdout == "['c:1', 'd:1']\n"
    cluster.write(WEB)
    said = cluster.console("container_sup.apply('mine.yml', prune=True)")
    assert said.returncode == 5
    cluster.write("")
    assert cluster.console("container_sup.apply('mine.yml')").returncode == 0


def test_an_apply_that_is_called_wrongly_says_so_itself(cluster: Cluster) -> None:
    for given in ("5", "None, 'x'", "None, False, 3", "prnue=True"):
        said = cluster.console(f"container_sup.apply({given})")
        assert (said.returncode, said.stdout) == (1, "")
        assert said.stderr.startswith("UsageError: container_sup.apply")


# veo apply, where there is no terminal


def test_the_journal_tells_who_applied_it_and_why(cluster: Cluster) -> None:
    assert cluster.apply(WEB, "--yes", "--reason", "INC-42")[0] == 0
    told = cluster.console("[e.text for e in history() if e.kind == 'asked']").stdout
    assert "container_sup.apply(Plan[add web]) by " in told
    assert told.rstrip().endswith("): INC-42']")


def test_nothing_is_done_unasked(cluster: Cluster) -> None:
    status, out, err = cluster.apply(WEB)
    assert (status, out[-1]) == (5, "1 to add")
    assert err == [
        "veo: nothing was done: there is nobody to ask; --yes applies it unasked"
    ]
    assert cluster.plan(WEB)[0] == 2


def test_what_is_done_is_a_line_each(cluster: Cluster) -> None:
    status, out, err = cluster.apply(WEB + DB, "--yes")
    assert (status, err) == (0, [])
    assert out[-3:] == ["2 to add", "web added", "db added"]
    assert cluster.apply(WEB + DB) == (
        0,
        ["  kept: web, db", "nothing to do, 2 kept"],
        [],
    )
    status, out, err = cluster.apply(WEB_2, "--prune", "--yes")
    assert (status, err) == (0, [])
    assert out[-3:] == ["1 to change, 1 to remove", "web changed", "db removed"]


def test_nothing_of_nothing_is_done(cluster: Cluster) -> None:
    assert cluster.apply("", "--prune") == (0, ["nothing to do"], [])


def test_what_fails_is_told_at_the_end(cluster: Cluster) -> None:
    huge = "\n  huge: {image: huge, cpus: 64}\n"
    status, out, err = cluster.apply(huge + BAD + WEB, "--yes")
    assert (status, out[-2:]) == (1, ["bad added", "web added"])
    first, second = err
    assert first.startswith("veo: huge: not added: no node fits huge; dos@dos: wants")
    assert second.endswith(": exited, exit code 3")
    status, out, err = cluster.apply(BAD + WEB)
    assert (status, out) == (1, ["  kept: bad, web", "nothing to do, 2 kept"])
    assert err == [second]


# At a terminal


def test_a_person_is_asked(terminal: Callable[..., Terminal]) -> None:
    screen = terminal(WEB)
    screen.read_until("1 to add")
    screen.read_until("apply this? [y/N] ")
    assert b"\x1b[32m+ web: nginx:1\x1b[0m" in screen.raw
    screen.type("\r")
    screen.read_until("veo: nothing was done")
    assert screen.wait() == 5
    screen = terminal(WEB)
    screen.read_until("apply this? [y/N] ")
    screen.type("y\r")
    screen.read_until("[0/1] adding web")
    screen.read_until("web added")
    assert screen.wait() == 0
    screen = terminal(WEB)
    screen.read_until("nothing to do, 1 kept")
    assert screen.wait() == 0


def test_ctrl_c_leaves_what_was_begun(
    cluster: Cluster, terminal: Callable[..., Terminal]
) -> None:
    screen = terminal(CHECKED, "--yes")
    screen.read_until("[0/1] adding checked")
    while cluster.plan(CHECKED)[0]:
        pass
    screen.type("\x03")
    screen.read_until(
        "veo: what was begun goes on; `veo plan` tells what is left to do"
    )
    assert screen.wait() == 130
    assert cluster.plan(CHECKED)[0] == 0


def test_ctrl_c_at_the_question_ends_its_line(
    terminal: Callable[..., Terminal],
) -> None:
    screen = terminal(WEB)
    screen.read_until("apply this? [y/N] ")
    screen.type("\x03")
    screen.read_until("^C\n")
    assert screen.wait() == 130
