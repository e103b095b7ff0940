"""Run a Docker Engine of our own, apart from any other on the machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import docker
import psutil
from docker.errors import APIError, DockerException
from requests.exceptions import RequestException

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
CLAMP = Path(__file__).with_name("runc-clamp")


class EngineFailed(Exception):
    """The engine did not come up; says why in one line and where its log is."""


@attrs.define(kw_only=True)
class Dockerd:
    """A dockerd with its data and log in `home`, its socket and pid in `run`.

    `run` has to be short: containerd's sockets below it are bound by the 107
    characters of a Unix socket's path. `prefix` is put before the command
    (`nsenter …`), `options` after it. Needs root.
    """

    home: Path
    run: Path
    prefix: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)

    @property
    def url(self) -> str:
        """Return what belongs into DOCKER_HOST."""
        return f"unix://{self.run}/docker.sock"

    @property
    def log(self) -> Path:
        """Return the file that holds what the engine said."""
        return self.home / "dockerd.log"

    def start(self) -> None:
        """Start it and wait until it answers; without overlayfs if that is refused."""
        try:
            self._start()
        except EngineFailed:
            if "overlay" not in self.log.read_text(errors="replace"):
                raise
            self._start("--storage-driver", "vfs")

    def _start(self, *options: str) -> None:
        process = self._process = self._launch(*options)
        wait_until(
            lambda: self.answers() or process.poll() is not None, START_TIMEOUT_S
        )
        if self.answers():
            return
        self.stop()
        last = self.log.read_text(errors="replace").strip().rpartition("\n")[2]
        raise EngineFailed(f"dockerd did not start: {last} (all of it: {self.log})")

    def _launch(self, *options: str) -> subprocess.Popen[bytes]:
        """Start it in a session of its own: Ctrl-C on the terminal passes it by."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._pidfile.unlink(missing_ok=True)
        argv = [*self.prefix, "dockerd", "-H", self.url]
        argv += ["--data-root", f"{self.home}/data", "--exec-root", f"{self.run}/exec"]
        argv += ["--pidfile", str(self._pidfile), *self.options, *options]
        if not has_all_capabilities():
            argv += ["--add-runtime", f"clamp={CLAMP}", "--default-runtime", "clamp"]
        with self.log.open("wb") as log:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def answers(self) -> bool:
        """Tell whether it takes requests."""
        return answers(self.url)

    def pid(self) -> int | None:
        """Return its process's id, None if it does not run."""
        with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
            process = psutil.Process(int(self._pidfile.read_text()))
            # A pid in a file may have come to mean somebody else.
            if self.url in process.cmdline():
                return process.pid
        return None

    def stop(self) -> None:
        """Kill its containers, end it, and take away all but its data and its log."""
        pid = self.pid()
        if pid is not None:
            if self.answers():
                self._kill_containers()
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: self.pid() is None, STOP_TIMEOUT_S)
        for process in self._leftovers():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        wait_until(lambda: not self._leftovers(), STOP_TIMEOUT_S)
        if self._process is not None:
            self._process.wait(STOP_TIMEOUT_S)
        unmount_below(self.home)
        unmount_below(self.run)
        shutil.rmtree(self.run, ignore_errors=True)

    @property
    def _pidfile(self) -> Path:
        return self.run / "dockerd.pid"

    def _kill_containers(self) -> None:
        """Kill what runs, lest one that ignores SIGTERM holds up the end for 10 s."""
        with connect(self.url) as client:
            for container in client.containers.list():
                # One that ended by itself just now is no trouble.
                with contextlib.suppress(APIError):
                    container.kill()

    def _leftovers(self) -> list[psutil.Process]:
        """Return what an engine that was itself killed leaves: shims, containers."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess):
                if is_engine_part(process, self.run):
                    found += [process, *process.children(recursive=True)]
        return [process for process in found if is_running(process)]


def is_engine_part(process: psutil.Process, run: Path) -> bool:
    """Tell whether it is a dockerd, containerd or shim of the engine in `run`."""
    return process.name().startswith(("dockerd", "containerd")) and any(
        f"{run}/" in word for word in process.cmdline()
    )


def connect(url: str, timeout_s: int = 10) -> contextlib.closing[docker.DockerClient]:
    """Return a client of the engine there, to be used in a `with`."""
    return contextlib.closing(docker.DockerClient(base_url=url, timeout=timeout_s))


def refusal(url: str) -> str | None:
    """Return why no engine answers there, None if one does."""
    try:
        if url.startswith("unix://"):
            # The SDK leaves a socket open where nobody listens.
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(url.removeprefix("unix://"))
        with connect(url, timeout_s=5) as client:
            client.ping()
    # ImportError: `ssh://` needs a library that may be missing.
    except (DockerException, RequestException, OSError, ImportError) as error:
        return str(error)
    return None


def answers(url: str) -> bool:
    """Tell whether an engine answers there."""
    return refusal(url) is None


def has_all_capabilities() -> bool:
    """Tell whether this process may hand on every capability the kernel knows."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    status = Path("/proc/self/status").read_text()
    bounding = next(line for line in status.splitlines() if line.startswith("CapBnd"))
    full = (1 << (last + 1)) - 1
    return int(bounding.split()[1], 16) & full == full


def wait_until(condition: Callable[[], object], timeout_s: float) -> bool:
    """Wait until the condition holds; tell whether it did in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_running(process: psutil.Process) -> bool:
    """Tell whether a process still does something: a zombie does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def unmount_below(folder: Path) -> None:
    """Unmount what an engine left: a mount blocks the removal of its folder."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in sorted(points, reverse=True):
        if point.startswith(f"{folder}/"):
            subprocess.run(["umount", "-l", point], check=False)
