"""What a session is given of services, and what it can do with that.

On two real nodes with fake engines.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.conftest import ROOT, SampleNode, environment

FILE = """\
services:
  web: {image: "nginx:1", restart: always, ports: [80], max_per_node: 1}
"""
TWO = """
blue, green = (settings.parse_service({"web": {"image": "nginx:1", "variant": v}})
    for v in ("blue", "green"))
for spec in (blue, green): container_sup.add_service(spec)
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


def test_the_list_of_services_tells_how_they_stand(console: Console) -> None:
    said = console(
        "(t,) = settings.get_applications()\n"
        "added = container_sup.add_service(t)\n"
        "scaled = cluster.services['web'].scale(3)\n"
        "scaled.warning\n"
        "cluster.services\n"
        "cluster\n"
        "s = cluster.services['web']\n"
        "(s.ready, s.wanted, s.replicas)\n"
        "s == t, s.spec == t, container_sup.services() == [t]\n"
        "container_builder.build(s) == container_builder.build(t)\n"
    )
    warning, head, row, line, *told = said.splitlines()
    assert warning == "'1 waits for a node that fits'"
    cells = dict(zip(head.split(), row.split(), strict=True))
    assert cells["ready"] == "2/3"
    assert line == (
        "cluster veo: nodes 2 alive; services 1, ready 2/3; "
        "containers 2 running, 1 pending"
    )
    assert told == ["(2, 3, 1)", "(True, True, True)", "True"]
    shown = console.veo("status").stdout.split("\n\n")[1]
    assert shown.splitlines() == ["services: 1", head, row]
    (told_of,) = json.loads(console.veo("status", "--json").stdout)["services"]
    assert (told_of["ready"], told_of["wanted"], told_of["replicas"]) == (2, 3, 1)
    assert (told_of["name"], told_of["max_per_node"]) == ("web", 1)


def test_what_a_service_leads_to_is_of_just_that_one(console: Console) -> None:
    said = console(
        f"{TWO}\n"
        "green = cluster.services.where(variant='green')[0]\n"
        "green.scale(2).what\n"
        "[c.uid == green.uid for c in green.containers()]\n"
        "{e.uid for e in green.why() if e.uid} == {green.uid}\n"
        "len(green.health())\n"
        "green.logs()\n"
        "{e.uid for e in green.events()} == {green.uid}\n"
        "blue = cluster.services.where(variant='blue')[0]\n"
        "container_sup.exec(blue, 'true').exit_code\n"
        "green.add().slot\n"
        "green.remove().what\n"
        "[(s.variant, s.ready) for s in cluster.services]\n"
    )
    assert said.splitlines() == [
        "'web (green): 2 instances'",
        "[True, True]",
        "True",
        "2",
        "[]",
        "True",
        "127",  # the fake engine has no such command: one container was meant
        "2",
        "'web (green) removed'",
        "[('blue', 1)]",
    ]


def test_top_tells_of_each_node_its_own_wherever_the_session_is(
    console: Console,
) -> None:
    for code in ("top()", "use('dos'); top()"):
        said = console(code).split("\n\n")[1].splitlines()[1:]
        loads = {line.split()[0]: " ".join(line.split()[2:5]) for line in said}
        assert loads == {"dos@dos": "0.50 of 8", "uno@uno": "0.50 of 4"}


def test_logs_that_nobody_has_any_more_are_read_no_more(console: Console) -> None:
    said = console(
        "import threading, time\n"
        "(t,) = settings.get_applications()\n"
        "added = container_sup.add_service(t)\n"
        "def reading(): return [t for t in threading.enumerate() if 'logs' in t.name]\n"
        "lines = container_sup.logs('web', follow=True)\n"
        "len(reading())\n"
        "lines = None\n"
        "until = time.monotonic() + 10\n"
        "while reading() and time.monotonic() < until: time.sleep(0.05)\n"
        "len(reading())\n"
    )
    assert said.splitlines() == ["1", "0"]


def test_services_as_they_stand_are_a_file_too(console: Console) -> None:
    said = console(f"{TWO}\ncontainer_sup.plan(cluster.services)\n")
    kept, last = said.splitlines()
    assert sorted(kept.removeprefix("  kept: ").split(", ")) == [
        "web (blue)",
        "web (green)",
    ]
    assert last == "nothing to do, 2 kept"


def test_a_node_of_the_version_before_tells_the_specs_alone(
    node: SampleNode,
) -> None:
    console = Console(node.run_dir)
    head, row, line = console("cluster.services\ncluster\n").splitlines()
    assert head.split() == ["name", "image", "network", "ports", "restart"]
    assert "; services 1; " in line
    status = console.veo("status")
    assert (status.returncode, status.stderr) == (0, "")
    assert status.stdout.split("\n\n")[1].splitlines() == ["services: 1", head, row]
