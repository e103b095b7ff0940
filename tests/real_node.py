"""A `veo` node as a process on a host of the rig, driven as its operators drive it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.rig.rig import Rig
from veo_shell.console.client import Client
from veo_shell.errors import NodeUnreachable

EXAMPLE = Path(__file__).parents[1] / "examples" / "cluster.yml"
COOKIE = "a cookie for tests, long enough"
UP_S = 20.0
STOP_S = 15.0


def eventually(holds: Callable[[], Any], limit_s: float = 10.0) -> Any:
    """Return what is seen once it is true; fail when it does not come to be."""
    deadline = time.monotonic() + limit_s
    while not (seen := holds()):
        assert time.monotonic() < deadline, f"not within {limit_s:g} s: {holds}"
        time.sleep(0.02)
    return seen


class RealNode:
    """One node: `start` it, ask it, kill it, start it again.

    `rest` are further options of each start; `data_dir` is below `folder` by default.
    """

    def __init__(
        self,
        rig: Rig,
        host: str,
        folder: Path,
        *rest: str,
        config: Path = EXAMPLE,
        data_dir: Path | None = None,
    ) -> None:
        self.rig = rig
        self.host = host
        self.name = f"{host}@{host}"
        self.address = rig.address(host)
        self.folder = folder / host
        self.folder.mkdir()
        self.run_dir = self.folder / "run"
        self.config = config
        self.data_dir = data_dir or self.folder / "data"
        self.rest = rest
        self.process: subprocess.Popen[Any] | None = None
        self._client: Client | None = None

    def start(self, *options: str) -> None:
        """Start the process and wait until its console answers."""
        self.launch(*options)
        self.wait_until_up()

    def wait_until_up(self) -> None:
        """Wait until the console answers; fail at once when the process ends."""
        eventually(lambda: self.answers() or not self.is_running, UP_S)
        assert self.is_running, self.log_path.read_text()[-2000:]

    def answers(self) -> bool:
        """Tell whether the console answers."""
        try:
            self.call("container_sup.count")
        except NodeUnreachable:
            return False
        return True

    def launch(self, *options: str) -> subprocess.Popen[Any]:
        """Start the process; its log goes to `log`."""
        with self.log_path.open("ab") as log:
            self.process = self.rig.popen(
                self.host,
                *veo("start", "--name", self.name, "--address", self.address),
                *("--config", str(self.config), "--data-dir", str(self.data_dir)),
                *("--run-dir", str(self.run_dir), *self.rest, *options),
                env={"COOKIE": COOKIE},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self.process

    @property
    def log_path(self) -> Path:
        """Return the file that the node logs to."""
        return self.folder / "log"

    @property
    def is_running(self) -> bool:
        """Tell whether its process is there."""
        return self.process is not None and self.process.poll() is None

    def stop(self, *options: str) -> None:
        """Stop it as an operator does; its containers keep running."""
        self._hang_up()
        command = veo("stop", "--run-dir", str(self.run_dir), *options)
        done = self.rig.run(self.host, *command, timeout_s=STOP_S)
        assert done.returncode == 0
        assert self.process is not None
        assert self.process.wait(STOP_S) == 0

    def kill(self) -> None:
        """End it without a word."""
        self._hang_up()
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def freeze(self) -> None:
        """Have the process do nothing until it is thawed; its sockets stay open."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have a frozen process go on."""
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def call(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        """Call a verb, `word.verb`, as the console does, and return its value."""
        if self._client is None:
            self._client = Client(self.run_dir)
        return self._client.call(verb, *args, **kwargs)

    def close(self) -> None:
        """End what is left of it."""
        self._hang_up()
        if self.is_running:
            self.kill()

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def attach(
        self, code: str, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run code in the node's console."""
        command = veo("attach", "--yes", "--run-dir", str(self.run_dir), "-c", code)
        return self.rig.run(self.host, *command, timeout_s=timeout_s, check=False)

    def console(self, code: str) -> str:
        """Run code in the node's console; return what it prints, fail if it fails."""
        done = self.attach(code)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def containers(self) -> list[dict[str, Any]]:
        """Return the containers of the whole cluster as this node knows them."""
        command = veo("status", "--json", "--run-dir", str(self.run_dir))
        status = json.loads(self.rig.run(self.host, *command).stdout)
        held: list[dict[str, Any]] = status["containers"]
        return held

    def dig(self, name: str, kind: str = "A") -> Dug:
        """Ask this node's DNS, over the network."""
        command = ["dig", f"@{self.address}", name, kind, "+tries=1", "+time=2"]
        return Dug(self.rig.run(self.host, *command, check=False).stdout)

    def docker(self, *argv: str) -> str:
        """Run Docker's own client on the host."""
        return self.rig.run(self.host, "docker", *argv).stdout


class Dug:
    """What `dig` printed."""

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def status(self) -> str:
        """Return the rcode, "" if nothing came."""
        _, _, rest = self.text.partition("status: ")
        return rest.partition(",")[0]

    @property
    def flags(self) -> list[str]:
        """Return the header's flags."""
        _, _, rest = self.text.partition("flags: ")
        return rest.partition(";")[0].split()

    def section(self, title: str) -> list[str]:
        """Return the rdata of each record in a section, in dig's own order."""
        _, _, rest = self.text.partition(f";; {title} SECTION:\n")
        lines = rest.partition("\n\n")[0].splitlines()
        return [line.split(None, 4)[4] for line in lines if line]

    @property
    def answer(self) -> list[str]:
        """Return the rdata of each record in the answer."""
        return sorted(self.section("ANSWER"))


def veo(*argv: str) -> list[str]:
    """Return the command line of `veo`, as installed for the tests."""
    return [sys.executable, "-m", "veo_shell", *argv]


def pid_runs(pid: int) -> bool:
    """Tell whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
