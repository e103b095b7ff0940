"""`veo logs` and `veo exec` on a real engine, for a container of another node."""

from __future__ import annotations

import contextlib
import fcntl
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from itertools import pairwise

import docker
import pytest

from scripts.dockerd import connect
from tests.console.terminal import Terminal
from tests.engines import BUSYBOX
from tests.local_node import LocalNode, environment, eventually, nodes_in

pytestmark = pytest.mark.docker

IDLES = "trap 'exit 0' TERM; sleep 3600 & wait"
COUNTS = (
    "i=0; trap 'echo bye; exit 0' TERM; "
    "while :; do echo $HOSTNAME says $i; i=$((i+1)); sleep 0.2; done"
)


@pytest.fixture(scope="module")
def engine(docker_url: str) -> Iterator[docker.DockerClient]:
    with connect(docker_url, timeout_s=60) as client:
        yield client


@pytest.fixture(scope="module")
def pair(
    docker_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LocalNode, LocalNode]]:
    """Have two nodes that have joined, on one engine."""
    with nodes_in(tmp_path_factory.mktemp("pair"), docker_url) as make:
        uno, dos = make("uno"), make("dos")
        uno.up()
        dos.up("--join", uno.address)
        eventually(lambda: alive(uno) == alive(dos) == 2)
        yield uno, dos
        remove(uno)


def alive(node: LocalNode) -> int:
    return sum(row["status"] == "alive" for row in node.status()["nodes"])


def remove(node: LocalNode) -> None:
    """Remove what a test has run."""
    node.attach(
        "-c", "[container_sup.remove_service(s) for s in container_sup.services()]"
    )


@pytest.fixture
def uno(pair: tuple[LocalNode, LocalNode]) -> Iterator[LocalNode]:
    """Have the node that asks."""
    yield pair[0]
    remove(pair[0])


def run(
    node: LocalNode, command: str, *, host: str = "dos@dos", replicas: int = 1
) -> None:
    """Have a service `web` run a shell's command."""
    spec = {
        "image": BUSYBOX,
        "args": ["sh", "-c", command],
        "restart": "always",
        "replicas": replicas,
        **({"hosts": [host]} if host else {}),
    }
    code = f"container_sup.add_service(settings.parse_service({{'web': {spec!r}}}))"
    said = node.attach("-c", code)
    assert said.status == 0, said.err


def names(node: LocalNode) -> list[str]:
    """Return the names of what runs, by slot."""
    found = sorted(node.status()["containers"], key=lambda c: int(c["slot"]))
    return [c["name"] for c in found if c["state"] == "running"]


def veo(
    node: LocalNode, *argv: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run a command of `veo` with bytes."""
    verb, *rest = argv
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "veo_shell",
            verb,
            "--run-dir",
            str(node.run_dir),
            *rest,
        ],
        input=stdin,
        capture_output=True,
        env=environment(node.folder),
        timeout=60,
        check=False,
    )


@contextlib.contextmanager
def terminal(node: LocalNode, *argv: str) -> Iterator[Terminal]:
    """Run a command of `veo` on a terminal of its own."""
    verb, *rest = argv
    made = Terminal(
        [
            sys.executable,
            "-m",
            "veo_shell",
            verb,
            "--run-dir",
            str(node.run_dir),
            *rest,
        ],
        environment(node.folder, TERM="xterm"),
        (24, 80),
    )
    try:
        yield made
    finally:
        made.close()


# Commands


def test_a_shell_on_a_terminal(uno: LocalNode) -> None:
    run(uno, IDLES)
    with terminal(uno, "exec", "-it", "web", "--", "sh") as shell:
        before = termios.tcgetattr(shell.master)
        shell.read_until("# ")
        shell.type("busybox stty size\r")
        shell.read_until("24 80")
        fcntl.ioctl(shell.master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 44, 0, 0))
        shell.type("until busybox stty size | grep '^33 44'; do sleep 0.1; done\r")
        shell.read_until("\n33 44\n")
        shell.type("echo ready; cat\r")
        shell.read_until("ready\n")
        shell.type("is echoed\r")
        shell.read_until("is echoed\n")
        shell.read_until("is echoed\n")
        shell.type("\x03")
        shell.read_until("# ")
        shell.type("echo $?; exit 5\r")
        shell.read_until("130")
        assert shell.wait() == 5
        assert termios.tcgetattr(shell.master) == before


def test_stdin_outputs_and_status_are_the_commands(uno: LocalNode) -> None:
    run(uno, IDLES)
    data = bytes(range(256)) * 4096
    done = veo(uno, "exec", "-i", "web", "--", "cat", stdin=data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == data
    script = "echo out; echo err >&2; exit 9"
    done = veo(uno, "exec", names(uno)[0], "--", "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (9, b"out\n", b"err\n")
    done = veo(uno, "exec", "web", "--", "nonesuch")
    assert done.returncode in (126, 127)  # by the engine's version


def test_status_and_output_in_the_console(uno: LocalNode) -> None:
    run(uno, IDLES)
    said = uno.attach("-c", "container_sup.exec('web', \"sh -c 'echo hi; exit 3'\")")
    assert (said.status, said.out) == (0, "hi\nexit status 3\n")


def test_a_command_ends_with_its_container(
    uno: LocalNode, engine: docker.DockerClient
) -> None:
    run(uno, IDLES)
    with terminal(uno, "exec", "-it", "web", "--", "sh") as shell:
        shell.read_until("# ")
        engine.containers.get(names(uno)[0]).kill()
        assert shell.wait() == 137


# Logs


def test_lines_of_instances_on_two_nodes_are_merged(uno: LocalNode) -> None:
    run(uno, COUNTS, host="", replicas=2)
    one, two = names(uno)
    assert {one[:7], two[:7]} == {"veo-uno", "veo-dos"}
    eventually(lambda: len(veo(uno, "logs", "web").stdout.splitlines()) > 6)
    done = veo(uno, "logs", "-t", "web")
    rows = [line.split() for line in done.stdout.decode().splitlines()]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    for name in (one, two):
        numbers = [int(row[-1]) for row in rows if row[1] == name]
        assert numbers == list(range(len(numbers)))
    assert len(veo(uno, "logs", "--tail", "2", "web").stdout.splitlines()) == 2
    assert veo(uno, "logs", "--since", "0", "web").stdout.count(b"\n") <= 2


def test_a_log_is_followed_across_restarts_each_line_once(
    uno: LocalNode, engine: docker.DockerClient
) -> None:
    run(uno, COUNTS)
    [web] = names(uno)
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "veo_shell", "logs", "-f", "--tail", "all"),
            *("--run-dir", str(uno.run_dir), "web"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(uno.folder),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        numbers: list[int] = []
        for kills in range(3):
            while len(numbers) < 5 * (kills + 1):
                numbers.append(int(process.stdout.readline().split()[-1]))
            engine.containers.get(web).kill()
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=30)
        numbers += [int(line.split()[-1]) for line in rest.splitlines()]
        assert (process.returncode, err) == (130, "")
    assert numbers.count(0) >= 3
    assert all(after in (before + 1, 0) for before, after in pairwise(numbers))
