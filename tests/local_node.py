"""A `veo` node of this machine on a loopback address of its own, run by commands."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

ROOT = Path(__file__).parents[1]
COOKIE = "a cookie for tests, long enough"
COMMAND_S = 40.0
DNS_PORT = 5300
"""Not 5353: on a desktop, multicast DNS is answered there at all addresses."""

# Runs side by side have networks of their own (scripts/all_tests.py).
NETWORK = os.environ.get("TEST_NETWORK", "127.0.5")

_addresses = (f"{NETWORK}.{number}" for number in itertools.count(1))


def eventually(holds: Callable[[], Any], limit_s: float = 15.0) -> Any:
    """Return what is seen once it is true; fail when it does not come to be."""
    deadline = time.monotonic() + limit_s
    while not (seen := holds()):
        assert time.monotonic() < deadline, f"not within {limit_s:g} s: {holds}"
        time.sleep(0.02)
    return seen


def environment(home: Path, **variables: str) -> dict[str, str]:
    """Return an environment of which the tests know everything that matters."""
    measuring = {k: v for k, v in os.environ.items() if k.startswith("COV")}
    return {**measuring, **unmeasured_environment(home, **variables)}


def unmeasured_environment(home: Path, **variables: str) -> dict[str, str]:
    """Return one for a process that cannot write what coverage measured in it."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "COOKIE": COOKIE,
        **variables,
    }


def other_user() -> list[str]:
    """Return what to put before a command to run it as a user like any other.

    Skips where that cannot be: not root, or a checkout that only root can read.
    """
    prefix = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"]
    probe = [*prefix, sys.executable, "-c", "import veo_shell.daemon, zmq, docker"]
    env = unmeasured_environment(Path("/"))
    if subprocess.run(probe, env=env, cwd="/", capture_output=True).returncode != 0:
        pytest.skip("needs root, and a checkout that other users can read")
    return prefix


@attrs.frozen
class Said:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """Return the one line that a command that fails says, less `veo: `."""
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if line.startswith("veo: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("veo: ")


@attrs.frozen
class LocalNode:
    """What one node has: a folder, an address, an engine. Its commands run there."""

    folder: Path
    engine_url: str = "unix:///nowhere/docker.sock"
    address: str = attrs.field(factory=lambda: next(_addresses))

    @property
    def name(self) -> str:
        """Return the node's name."""
        return f"{self.folder.name}@{self.folder.name}"

    @property
    def run_dir(self) -> Path:
        """Return where its control socket is."""
        return self.folder / "run"

    @property
    def data_dir(self) -> Path:
        """Return where its state is."""
        return self.folder / "data"

    def start_options(self) -> list[str]:
        """Return the `veo start` of this node."""
        return [
            *("start", "--name", self.name, "--address", self.address),
            *("--dns-port", str(DNS_PORT), "--docker", self.engine_url),
            *("--data-dir", str(self.data_dir), "--run-dir", str(self.run_dir)),
        ]

    def veo(self, *argv: str, stdin: str = "", **variables: str) -> Said:
        """Run `veo` with nothing but this."""
        done = subprocess.run(
            [sys.executable, "-m", "veo_shell", *argv],
            cwd=self.folder,
            input=stdin,
            env=environment(self.folder, **variables),
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def start(self, *options: str, **variables: str) -> Said:
        """Run `veo start --detach`."""
        return self.veo(*self.start_options(), *options, "--detach", **variables)

    def up(self, *options: str) -> None:
        """Have it run in the background."""
        said = self.start(*options)
        warnings = [x for x in said.err.splitlines() if x.startswith("veo: warning: ")]
        assert (said.status, said.err.splitlines()) == (0, warnings)

    def refusal(self, *options: str, **variables: str) -> str:
        """Return why `veo start` fails, the last of each option given counting."""
        said = self.veo(*self.start_options(), *options, **variables)
        assert said.status == 1, said
        return said.complaint

    @contextlib.contextmanager
    def launch(
        self, *options: str, prefix: tuple[str, ...] = ()
    ) -> Iterator[subprocess.Popen[str]]:
        """Run `veo start`, which logs to stderr; it does not outlive the block."""
        veo = [sys.executable, "-m", "veo_shell", *self.start_options(), *options]
        with subprocess.Popen(
            [*prefix, *veo],
            cwd=self.folder,
            env=environment(self.folder),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def attach(self, *argv: str, stdin: str = "") -> Said:
        """Run `veo attach` of this node, sure of what is asked for."""
        options = ["--yes", "--run-dir", str(self.run_dir)]
        return self.veo("attach", *options, *argv, stdin=stdin)

    def answers(self) -> bool:
        """Tell whether its console answers."""
        return self.attach("-c", "1").status == 0

    def status(self) -> dict[str, list[dict[str, Any]]]:
        """Return what `veo status --json` tells."""
        said = self.veo("status", "--json", "--run-dir", str(self.run_dir))
        assert said.status == 0, said.err
        told: dict[str, list[dict[str, Any]]] = json.loads(said.out)
        return told

    def pid(self) -> int:
        """Return its process, as its pid file tells."""
        return int((self.run_dir / "veo.pid").read_text())

    def stop(self) -> Said:
        """Run `veo stop`."""
        return self.veo("stop", "--run-dir", str(self.run_dir))

    def kill(self) -> None:
        """End it without a word."""
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not runs(pid))


def runs(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


Nodes = Callable[..., LocalNode]


@contextlib.contextmanager
def nodes_in(folder: Path, engine_url: str) -> Iterator[Nodes]:
    """Make nodes, by name; those that still run in the end are stopped."""
    made = []

    def make(name: str, engine_url: str = engine_url) -> LocalNode:
        place = folder / name
        place.mkdir()
        made.append(LocalNode(place, engine_url))
        return made[-1]

    try:
        yield make
    finally:  # also where one did not start: the others would join those of other tests
        left = [node.stop().status for node in made]
    assert set(left) <= {0, 3}
