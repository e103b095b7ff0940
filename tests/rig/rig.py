"""Several real hosts on one machine: a network namespace and a Docker Engine each.

    with Rig(("uno", "dos")) as rig:
        rig.run("dos", "curl", f"http://{rig.address('uno')}:8080/")

The hosts hang on a bridge that has a namespace of its own. So nothing of the machine's
own network is touched, and any number of rigs can stand side by side: each has the
same addresses, and none can be reached from outside. Needs root.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import fcntl
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import docker
import psutil

from scripts.dockerd import (
    Dockerd,
    connect,
    is_running,
    unmount_below,
    wait_until,
)

COMMANDS = ("dockerd", "ip", "iptables", "nsenter", "dig", "curl")
NETWORK = "10.77.0"
PREFIX = "veo-rig-"
# Containerd's sockets lie below and have 107 characters: TMPDIR may be too long.
BASE = Path("/tmp")
END_TIMEOUT_S = 10.0
CLONE_NEWNET = 0x40000000  # <sched.h>

T = TypeVar("T")


def lacking() -> str | None:
    """Return what keeps a rig from standing here, None if one can."""
    if os.geteuid() != 0:
        return "the rig needs root, for network namespaces"
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    return f"the rig needs {', '.join(missing)}: see scripts/need" if missing else None


class Rig:
    """Hosts with an address and an engine each, on one switch. Close it."""

    def __init__(self, names: Sequence[str]) -> None:
        sweep()
        self.names = tuple(names)
        self.home = Path(tempfile.mkdtemp(prefix=PREFIX, dir=BASE))
        owner = psutil.Process()
        (self.home / "owner").write_text(f"{owner.pid} {owner.create_time()}")
        self._processes: list[subprocess.Popen[Any]] = []
        self._daemons = {name: daemon_of(self.home, name) for name in names}
        try:
            self._raise_hosts()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def address(self, host: str) -> str:
        """Return the host's address on the switch."""
        return f"{NETWORK}.{self.names.index(host) + 1}"

    def docker_url(self, host: str) -> str:
        """Return what belongs into DOCKER_HOST for the host's engine."""
        return self._daemons[host].url

    def network(self, host: str) -> Path:
        """Return the file that stands for the host's network."""
        return namespace_file(self._namespace(host))

    def enter(self, host: str) -> list[str]:
        """Return what to put before a command to run it on the host.

        Not `ip netns exec`: that mounts /sys anew, and engines lose their cgroups.
        """
        return nsenter(self._namespace(host))

    def run(
        self, host: str, *argv: str, timeout_s: float = 30, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host, with its engine as DOCKER_HOST."""
        done = subprocess.run(
            [*self.enter(host), *argv],
            env=self._environment(host),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        if check and done.returncode != 0:
            said = done.stdout + done.stderr
            raise AssertionError(f"{host}: {argv}: {done.returncode}\n{said}")
        return done

    def popen(
        self, host: str, *argv: str, env: dict[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[Any]:
        """Start a command on the host; it is killed when the rig is closed.

        In a session of its own, as a host's init starts it: by that its processor time
        is weighed (sched(7)).
        """
        process = subprocess.Popen(
            [*self.enter(host), *argv],
            env={**self._environment(host), **(env or {})},
            start_new_session=True,
            **options,
        )
        self._processes.append(process)
        return process

    def inside(self, host: str, work: Callable[[], T]) -> T:
        """Call something on the host's network: sockets that it makes stay there."""
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(self._call_inside, host, work).result()

    def thread(self, host: str, work: Callable[[], None]) -> threading.Thread:
        """Return a thread, not yet started, whose network is the host's."""
        return threading.Thread(target=self._call_inside, args=(host, work))

    def disk(self, host: str, size_mb: int) -> Path:
        """Return the folder of a small disk of its own for the host."""
        # Not below the host's folder: what is mounted there goes with its engine.
        folder = disks_of(self.home) / host
        folder.mkdir(parents=True)
        options = f"size={size_mb}m,mode=0700"
        command("mount", "-t", "tmpfs", "-o", options, "veo-rig", str(folder))
        return folder

    def cut(self, host: str) -> None:
        """Pull the host's cable."""
        self._switch("ip", "link", "set", self._plug(host), "down")

    def mend(self, host: str) -> None:
        """Plug the host's cable in again."""
        self._switch("ip", "link", "set", self._plug(host), "up")

    def split(self, one: str, other: str) -> None:
        """Drop all packets between two hosts; others still reach both."""
        self._between("-I", one, other)

    def join(self, one: str, other: str) -> None:
        """End a `split`."""
        self._between("-D", one, other)

    def part(self, *hosts: str) -> None:
        """Split these hosts from all the others; among themselves they stay joined."""
        for here in hosts:
            for there in self._others(hosts):
                self.split(here, there)

    def unite(self, *hosts: str) -> None:
        """End a `part`."""
        for here in hosts:
            for there in self._others(hosts):
                self.join(here, there)

    def loss(self, host: str, share: float) -> None:
        """Drop this share (0 to 1) of what the host receives; 0 ends it."""
        self.run(host, "iptables", "-F", "LOSS")
        if share:
            rule = f"-i eth0 -m statistic --mode random --probability {share} -j DROP"
            self.run(host, "iptables", "-A", "LOSS", *rule.split())

    def load(self, archive: Path, *hosts: str) -> None:
        """Load an image archive into the engines of these hosts, all by default."""
        for host in hosts or self.names:
            with self.client(host) as client, archive.open("rb") as file:
                client.images.load(file)

    def client(self, host: str) -> contextlib.closing[docker.DockerClient]:
        """Return a client of the host's engine, to be used in a `with`."""
        return connect(self.docker_url(host), timeout_s=60)

    def stop_engine(self, host: str) -> None:
        """Stop the host's engine, and with it the containers it runs."""
        self._daemons[host].stop()

    def start_engine(self, host: str) -> None:
        """Start the host's engine again."""
        self._daemons[host].start()

    def kill_engine(self, host: str) -> None:
        """Kill the host's engine, and all that it runs, without a word."""
        daemon = self._daemons[host]
        pid = daemon.pid()
        assert pid is not None, f"{host}: its engine does not run"
        psutil.Process(pid).kill()
        wait_until(lambda: daemon.pid() is None, END_TIMEOUT_S)
        daemon.stop()

    def fail_power(self, host: str) -> None:
        """Cut the host off and kill all that runs on it, at once."""
        self.cut(host)
        kill_all_in(self._namespace(host))
        # Its engine is dead by now, its containers are in networks of their own.
        self._daemons[host].stop()

    def restore_power(self, host: str) -> None:
        """Bring the host's engine up again and plug the cable in."""
        if not self._daemons[host].answers():
            self._daemons[host].start()
        self.mend(host)

    def clear(self) -> None:
        """Have the hosts be as they were at first, but for the images they have."""
        self._end_processes()
        for host in self.names:
            self.restore_power(host)
            for rules in ("-F LOSS", "-F INPUT", "-A INPUT -j LOSS"):
                self.run(host, "iptables", *rules.split())
            with self.client(host) as client:
                for container in client.containers.list(all=True):
                    container.remove(force=True, v=True)
                for volume in client.volumes.list():
                    volume.remove()

    def close(self) -> None:
        """Take everything down, whatever state it is in."""
        self._end_processes()
        stop_all(self._daemons.values())
        take_down(self.home)

    def _end_processes(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self._processes = []

    def _raise_hosts(self) -> None:
        switch = namespace_of(self.home, "switch")
        command("ip", "netns", "add", switch)
        self._switch("ip", "link", "add", "switch", "type", "bridge")
        self._switch("ip", "link", "set", "switch", "up")
        for name in self.names:
            self._plug_in(name)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: self._daemons[name].start(), self.names))

    def _plug_in(self, host: str) -> None:
        name, plug = self._namespace(host), self._plug(host)
        (self.home / host).mkdir()
        command("ip", "netns", "add", name)
        veth = f"ip link add {plug} type veth peer name eth0 netns {name}"
        self._switch(*veth.split())
        self._switch("ip", "link", "set", plug, "master", "switch", "up")
        command("ip", "-n", name, "link", "set", "lo", "up")
        address = f"{self.address(host)}/24"
        command("ip", "-n", name, "addr", "add", address, "dev", "eth0")
        command("ip", "-n", name, "link", "set", "eth0", "up")
        self.run(host, "iptables", "-N", "LOSS")
        self.run(host, "iptables", "-A", "INPUT", "-j", "LOSS")

    def _call_inside(self, host: str, work: Callable[[], T]) -> T:
        enter_network(self.network(host))
        return work()

    def _others(self, hosts: Sequence[str]) -> list[str]:
        return [name for name in self.names if name not in hosts]

    def _between(self, action: str, one: str, other: str) -> None:
        for here, there in ((one, other), (other, one)):
            rule = f"INPUT -s {self.address(there)} -j DROP"
            self.run(here, "iptables", action, *rule.split())

    def _switch(self, *argv: str) -> None:
        command(*nsenter(namespace_of(self.home, "switch")), *argv)

    def _plug(self, host: str) -> str:
        return f"plug{self.names.index(host)}"

    def _namespace(self, host: str) -> str:
        assert host in self.names, f"no host {host!r}: {self.names}"
        return namespace_of(self.home, host)

    def _environment(self, host: str) -> dict[str, str]:
        return {**os.environ, "DOCKER_HOST": self.docker_url(host)}


def sweep() -> None:
    """Take down the rigs whose process died without doing so."""
    with Path("/run/veo-rig.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for home in BASE.glob(f"{PREFIX}*"):
            # A rig that is just being made or taken down has no owner yet or any more.
            with contextlib.suppress(FileNotFoundError):
                pid, born = (home / "owner").read_text().split()
                if not is_alive(int(pid), float(born)):
                    take_down(home)


def is_alive(pid: int, born: float) -> bool:
    """Tell whether the process that was started then still runs under that id."""
    try:
        return psutil.Process(pid).create_time() == born
    except psutil.NoSuchProcess:
        return False


def take_down(home: Path) -> None:
    """End the engines, processes and namespaces of the rig there; remove its folder."""
    disks = disks_of(home)
    folders = [path for path in home.iterdir() if path.is_dir() and path != disks]
    hosts = [folder.name for folder in folders]
    stop_all(daemon_of(home, name) for name in hosts)
    for name in hosts:
        kill_all_in(namespace_of(home, name))
    unmount_below(disks)
    for name in [*hosts, "switch"]:
        if namespace_file(namespace_of(home, name)).exists():
            command("ip", "netns", "del", namespace_of(home, name))
    shutil.rmtree(home)


def stop_all(daemons: Iterable[Dockerd]) -> None:
    """Stop engines side by side."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(Dockerd.stop, daemons))


def daemon_of(home: Path, host: str) -> Dockerd:
    """Return the engine of a rig's host."""
    folder = home / host
    prefix = nsenter(namespace_of(home, host))
    return Dockerd(home=folder, run=folder / "run", prefix=tuple(prefix))


def disks_of(home: Path) -> Path:
    """Return the folder below which the small disks of a rig are mounted."""
    return home / "disks"


def namespace_of(home: Path, name: str) -> str:
    """Return the name of a host's network namespace, unique on the machine."""
    return f"{home.name}-{name}"


def namespace_file(namespace: str) -> Path:
    """Return the file that stands for a network namespace."""
    return Path("/var/run/netns") / namespace


def nsenter(namespace: str) -> list[str]:
    """Return what to put before a command to run it in a network namespace."""
    return ["nsenter", f"--net={namespace_file(namespace)}"]


def enter_network(path: Path) -> None:
    """Move the calling thread, and no other, into a network for good.

    `path` is the file that stands for it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open() as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {path}")


def kill_all_in(namespace: str) -> None:
    """Kill every process in a network namespace and wait until they are gone.

    Containers too, which have networks of their own: once their shims are dead,
    nobody can tell whose they are.
    """
    doomed = [p for process in processes_in(namespace) for p in family_of(process)]
    for process in doomed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: not any(map(is_running, doomed)), END_TIMEOUT_S)


def family_of(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and all that it started, nothing if it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def processes_in(namespace: str) -> Iterable[psutil.Process]:
    """Return the processes in a network namespace, none if it is no more."""
    with contextlib.suppress(FileNotFoundError):
        inode = namespace_file(namespace).stat().st_ino
        return list(processes_of_network(inode))
    return []


def processes_of_network(inode: int) -> Iterator[psutil.Process]:
    """Yield the processes whose network namespace has that inode."""
    for process in psutil.process_iter():
        with contextlib.suppress(OSError):
            network = Path(f"/proc/{process.pid}/ns/net").stat().st_ino
            if network == inode and is_running(process):
                yield process


def command(*argv: str) -> None:
    """Run a command; show its words if it fails."""
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}")
