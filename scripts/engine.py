"""Have a Docker Engine: one that answers here, else a private one of this checkout.

    python -m scripts.engine run COMMAND…   for the length of a command
    python -m scripts.engine up             until `down`; prints its DOCKER_HOST
    python -m scripts.engine down           end the private one, if there is one

Either way it has the image `nginx:latest` when the command begins.

The private engine leaves the machine's firewall and routes as they are: it has its own
bridge and publishes ports through Docker's userland proxy. The price: its containers
reach this machine, but nothing outside of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO

from scripts import nginx_image
from scripts.dockerd import Dockerd, EngineFailed, connect, refusal

ROOT = Path(__file__).resolve().parents[1]
# 107 characters is the kernel's limit; containerd adds up to 50 below our folder.
LONGEST_RUN_DIR = 55


class NoEngine(Exception):
    """No Docker Engine can be had; says what to do about it."""


class PrivateEngine:
    """The private engine of a checkout, shared by all commands that run in it.

    Whoever uses it holds a shared lock on `users`; who leaves last ends it, unless it
    was brought up to stay. `gate` makes starting and ending it one step each.
    """

    def __init__(self, checkout: Path) -> None:
        home = checkout / ".veo" / "engine"
        self._name = hashlib.sha256(str(checkout).encode()).hexdigest()[:8]
        run = home / "run"
        if len(str(run)) > LONGEST_RUN_DIR:
            run = Path(f"/run/veo-{self._name}")
        self._keep = home / "keep"
        self._gate = home / "gate.lock"
        self._users = home / "users.lock"
        self.bridge = f"veo{self._name}"
        options = ["--bridge", self.bridge, "--iptables=false", "--ip6tables=false"]
        options += ["--ip-masq=false", "--ip-forward=false"]
        self.daemon = Dockerd(home=home, run=run, options=tuple(options))

    @property
    def url(self) -> str:
        """Return what belongs into DOCKER_HOST."""
        return self.daemon.url

    @contextlib.contextmanager
    def used(self) -> Iterator[str]:
        """Have it run as long as the block does; yield its address."""
        self.daemon.home.mkdir(parents=True, exist_ok=True)
        with self._users.open("a") as users:
            try:
                with locked(self._gate):
                    self._start()
                    fcntl.flock(users, fcntl.LOCK_SH)
                yield self.url
            finally:
                with locked(self._gate):
                    fcntl.flock(users, fcntl.LOCK_UN)
                    if is_alone(users) and not self._keep.exists():
                        self._stop()

    def up(self) -> str:
        """Start it, to stay until `down`; return its address."""
        with self.used():
            self._keep.touch()
        return self.url

    def down(self) -> str:
        """Remove its VEO containers and end it; tell what came of it, "" if nothing.

        A command that still uses it ends it when it is done. What else runs on it, as
        the hosts of `make multiple`, keeps it.
        """
        if not self._keep.exists():
            return ""
        with self.used() as url:
            remove_containers(url)
            if others := names_of_running(url):
                names = ", ".join(others)
                return f"the private Docker Engine stays, with what runs on it: {names}"
            self._keep.unlink()
        return "the private Docker Engine and the containers on it are gone"

    def _start(self) -> None:
        if self.daemon.answers():
            return
        say("starting a private Docker Engine in .veo/engine")
        self._add_bridge()
        self.daemon.start()

    def _stop(self) -> None:
        self.daemon.stop()
        self._remove_bridge()

    def _add_bridge(self) -> None:
        if Path(f"/sys/class/net/{self.bridge}").exists():
            return
        network = free_network(first=int(self._name[:2], 16))
        self._forget_networks_unless(str(network))
        ip("link", "add", self.bridge, "type", "bridge")
        ip("addr", "add", f"{network[1]}/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")

    def _forget_networks_unless(self, network: str) -> None:
        """Let a bridge have another network than the last time.

        The engine would set the one it has on record on the bridge, free or not.
        """
        last = self.daemon.home / "network"
        if not last.exists() or last.read_text() != network:
            shutil.rmtree(self.daemon.home / "data" / "network", ignore_errors=True)
            last.write_text(network)

    def _remove_bridge(self) -> None:
        if Path(f"/sys/class/net/{self.bridge}").exists():
            ip("link", "del", self.bridge)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_alone(file: IO[str]) -> bool:
    """Tell whether nobody else holds a lock on the file."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def remove_containers(url: str) -> None:
    """Remove every container of VEO from an engine."""
    with connect(url) as client:
        ours = client.containers.list(all=True, filters={"label": "veo.cluster"})
        for container in ours:
            container.remove(force=True)


def names_of_running(url: str) -> list[str]:
    """Return the names of the containers that run on an engine."""
    with connect(url) as client:
        return sorted(str(container.name) for container in client.containers.list())


def ip(*arguments: str) -> str:
    """Run ip(8); return what it prints."""
    return subprocess.run(
        ["ip", *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def free_network(first: int) -> ipaddress.IPv4Network:
    """Return a /24 that no route of this machine leads to, from 10.213.`first` on."""
    routes = json.loads(ip("-json", "-4", "route", "show", "table", "all"))
    taken = [
        ipaddress.ip_network(route["dst"], strict=False)
        for route in routes
        if route["dst"] != "default"
    ]
    for number in range(first, first + 256):
        network = ipaddress.IPv4Network(f"10.213.{number % 256}.0/24")
        if not any(network.overlaps(other) for other in taken):
            return network
    raise NoEngine("no free network in 10.213.0.0/16 for a private Docker Engine")


def standing_engine() -> str | None:
    """Return the address of an engine that answers here, None if there is none."""
    named = os.environ.get("DOCKER_HOST")
    places = ["unix:///var/run/docker.sock"]
    if runtime_dir := os.environ.get("XDG_RUNTIME_DIR"):
        places.append(f"unix://{runtime_dir}/docker.sock")
    for url in [named, *places] if named else places:
        reason = refusal(url)
        if reason is None:
            return url
        if url == named:
            say(f"DOCKER_HOST={named} is no use: {reason}")
    return None


def prepare_private() -> str | None:
    """Install what a private engine needs; return the address of one that came up.

    Where packages start their daemons, installing Docker is all that it takes.
    """
    if os.geteuid() != 0:
        raise NoEngine(
            "no Docker Engine answers and only root can start one: install Docker "
            "(apt-get install docker.io), add yourself to the group `docker`, or run "
            "this as root"
        )
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if all(map(shutil.which, ("dockerd", "ip", "iptables"))):
        return None
    need = [str(ROOT / "scripts" / "need"), "dockerd", "ip", "iptables"]
    if subprocess.run(need, check=False).returncode != 0:
        raise NoEngine("no Docker Engine answers here and none could be installed")
    return standing_engine()


def run(argv: list[str]) -> int:
    """Run a command with DOCKER_HOST set to an engine; return its exit status."""
    url = standing_engine() or prepare_private()
    if url is not None:
        return run_with(url, argv)
    with PrivateEngine(ROOT).used() as url:
        return run_with(url, argv)


def run_with(url: str, argv: list[str]) -> int:
    """Run a command, pass signals on to it, and wait for its end."""
    nginx_image.provide(url)
    child = subprocess.Popen(argv, env={**os.environ, "DOCKER_HOST": url})

    def pass_on(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    # A terminal sends Ctrl-C to the child as well: only its end must be waited for.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    status = child.wait()
    return status if status >= 0 else 128 - status


def up() -> int:
    """Bring an engine up that stays; print its address."""
    url = standing_engine() or prepare_private() or PrivateEngine(ROOT).up()
    nginx_image.provide(url)
    sys.stdout.write(f"{url}\n")
    return 0


def down() -> int:
    """End the private engine."""
    if came_of_it := PrivateEngine(ROOT).down():
        say(came_of_it)
    elif url := standing_engine():
        say(f"containers that ran on {url} still do: that is not an engine of ours")
    return 0


def say(line: str) -> None:
    """Tell the user, apart from what the command prints."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main(argv: list[str]) -> int:
    """Do what the command line says."""
    # A run that is asked to end leaves its blocks in order: nothing stays behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        match argv:
            case ["run", *command] if command:
                return run(command)
            case ["up"]:
                return up()
            case ["down"]:
                return down()
    except (NoEngine, EngineFailed, nginx_image.BuildFailed) as error:
        say(str(error))
        return 1
    say("usage: python -m scripts.engine run COMMAND… | up | down")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
