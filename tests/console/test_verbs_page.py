"""docs/verbs.md: current, and each of its examples can be typed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import verbs_page
from tests.console.conftest import ROOT, environment
from veo_shell.console import erlang

ENDS_THE_NODE = "leave()"
FILE = """\
services:
  nginx: {image: "nginx:latest", restart: always, ports: [80]}
"""
TYPED = """\
t, = settings.get_applications("cluster.yml")
for example in EXAMPLES:
    if not container_sup.services():
        container_sup.add_service(t)
    c, (service,) = container_sup.cloud_containers()[0], container_sup.services()
    c.node.undrain()
    try:
        exec(example)
    except (errors.ServiceError, errors.PeerUnreachable, errors.EngineError) as exc:
        print(f"{example}: {exc}")
"""


def test_the_page_is_current() -> None:
    hint = "write it anew: python -m scripts.verbs_page"
    assert verbs_page.FILE.read_text() == verbs_page.page(), hint


ORIGINAL = {
    "settings": "get_nodes get_applications get_application get_role parse_service",
    "container_sup": "add_service count list_containers get_containers "
    "get_container_group cloud_containers",
    "container_builder": "build get_config parse_inspect",
    "container_storage": "save_container remove_container containers_for_node "
    "containers_by_service_name container_by_id",
    "dns_registry": "add_service remove_records",
    "node_monitor": "where get_resources available free allocate assign_role",
}
"""What the Erlang program exported to its console."""
ROW = re.compile(r"^\| `(.*?)` \| (.*?) \| (same|changed|gone)(.*) \|$", re.MULTILINE)


def test_every_call_of_the_original_has_a_row() -> None:
    text = (ROOT / "docs" / "from-erlang.md").read_text()
    rows = ROW.findall(text)
    assert len(rows) == text.count("\n| `")
    told = {
        match[0]
        for typed, *_ in rows
        if (match := re.search(r"\w+:\w+", typed)) is not None
    }
    assert told == {f"{w}:{v}" for w, verbs in ORIGINAL.items() for v in verbs.split()}
    session = verbs_page.names()
    for _, python, verdict, because in rows:
        assert because or verdict == "same"
        for word, verb in re.findall(r"\b([a-z_]+)\.([a-z_]+)\(", python):
            assert verb in dir(session[word])
    said = {
        f"{m[1]}.{m[2]}": because.removeprefix(": ")
        for typed, _, verdict, because in rows
        if verdict == "gone" and (m := erlang.CALL.search(typed))
    }
    assert said == erlang.GONE


@pytest.mark.timeout(120)
def test_every_example_can_be_typed(tmp_path: Path) -> None:
    """What it names may not be there; but it is called as it should be."""
    (tmp_path / "cluster.yml").write_text(FILE)
    examples = sorted(verbs_page.examples(), key=lambda line: ENDS_THE_NODE in line)
    own = [line for line in examples if not line.startswith("h, t =")]
    code = TYPED.replace("EXAMPLES", repr(own))
    command = [sys.executable, "-m", "tests.console.fake_node", str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        veo = [sys.executable, "-m", "veo_shell", "attach", "--yes", "--run-dir"]
        done = subprocess.run(
            [*veo, str(tmp_path), "-c", code],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        process.terminate()
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
