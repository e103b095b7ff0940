"""Show VEO's main job on this machine: a cluster of two nodes, from nothing to curl.

Two nodes, uno at 127.0.0.1 and dos at 127.0.0.2, share the engine of DOCKER_HOST, which
has the image `nginx:latest`. Every input is printed with what it gave; the exit status
is 0 only if every step held. Whatever happens, all that was started is taken down.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import docker
import psutil
from docker.errors import NotFound
from docker.models.containers import Container

from scripts.dockerd import connect
from scripts.ports import dns_port, is_unused

ROOT = Path(__file__).resolve().parents[1]
VEO = Path(sys.executable).with_name("veo")
ADDRESSES = {"uno": "127.0.0.1", "dos": "127.0.0.2"}
COMMAND_TIMEOUT_S = 90
STEP_TIMEOUT_S = 20.0
# The cluster promises that DNS follows a removal within a second.
DNS_TIMEOUT_S = 1.0
LOG_LINES = 20


class StepFailed(Exception):
    """A step did not hold; says which and what was seen instead."""


@attrs.frozen(kw_only=True)
class Demo:
    """A cluster of two nodes, all of whose state is in `folder`."""

    folder: Path
    cluster: str
    dns_port: int
    engine: docker.DockerClient

    def start(self, name: str, *options: str) -> None:
        """Start a node and leave it in the background."""
        home = self.folder / name
        where = ["--data-dir", str(home / "data"), "--run-dir", str(home / "run")]
        cookie = ["--cookie-file", str(self.folder / "cookie")]
        self.show(
            *["veo", "start", "--name", f"{name}@{name}"],
            *["--address", ADDRESSES[name], "--cluster", self.cluster],
            *["--config", "examples/cluster.yml", "--dns-port", str(self.dns_port)],
            *[*where, *cookie, *options, "--detach"],
        )

    def type(self, name: str, code: str) -> None:
        """Type code at a node's console; what it gives is printed below it."""
        run_dir = str(self.folder / name / "run")
        self.run("veo", "attach", "--yes", "--run-dir", run_dir, "--echo", "-c", code)

    def containers(self, name: str) -> list[dict[str, Any]]:
        """Return the cluster's containers as a node sees them."""
        run_dir = str(self.folder / name / "run")
        argv = [str(VEO), "status", "--json", "--run-dir", run_dir]
        done = subprocess.run(
            argv, check=True, capture_output=True, timeout=COMMAND_TIMEOUT_S
        )
        found: list[dict[str, Any]] = json.loads(done.stdout)["containers"]
        return found

    def dig(self, name: str, question: str, kind: str) -> str:
        """Ask a node's DNS; return dig's answer without its comments on itself."""
        server = f"@{ADDRESSES[name]}"
        port = [] if self.dns_port == 53 else ["-p", str(self.dns_port)]
        argv = ["dig", server, *port, question, kind]
        options = ["+noall", "+comments", "+answer", "+time=1", "+tries=1"]
        done = subprocess.run(
            [*argv, *options], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
        )
        lines = [f"$ {' '.join(argv)}"]
        lines += [x for x in done.stdout.splitlines() if is_telling(x)]
        return "\n".join(lines)

    def dig_until(
        self,
        name: str,
        question: str,
        kind: str,
        *expected: str,
        timeout_s: float = STEP_TIMEOUT_S,
    ) -> None:
        """Ask until the answer has all that is expected, as patterns; print it."""
        seen = ""

        def is_right() -> bool:
            nonlocal seen
            seen = self.dig(name, question, kind)
            return all(re.search(p, seen, re.MULTILINE) for p in expected)

        what = f"{question} {kind} @{name} to have {', '.join(expected)}"
        try:
            wait_for(what, is_right, timeout_s)
        finally:
            say(seen)

    def curl(self, url: str) -> None:
        """Fetch a page and see that it is nginx's; print its title.

        Docker says of a container that it runs a moment before nginx listens in it.
        """
        say(f"$ curl {url}")
        page = ""

        def is_nginx() -> bool:
            nonlocal page
            argv = ["curl", "-sS", "-m", "5", url]
            done = subprocess.run(argv, capture_output=True, text=True)
            page = done.stdout + done.stderr
            return "Welcome to nginx!" in page

        try:
            wait_for(f"nginx's page at {url}", is_nginx)
        finally:
            title = re.search("<title>.*</title>", page)
            say(title.group() if title else page)

    def show(self, *argv: str) -> None:
        """Print a command and run it."""
        words = [w.replace(str(self.folder), "$DEMO") for w in argv]
        say(f"$ {' '.join(words)}")
        self.run(*argv)

    def run(self, *argv: str) -> None:
        """Run a command of `veo`; what it says goes to the terminal."""
        sys.stdout.flush()
        status = subprocess.run(
            [str(VEO), *argv[1:]], timeout=COMMAND_TIMEOUT_S
        ).returncode
        check(f"`{argv[0]} {argv[1]}` succeeds (exit status {status})", status == 0)


def is_telling(line: str) -> bool:
    """Tell whether a line of dig's is part of what a reader wants to see."""
    if line.startswith(";"):
        return "status:" in line or "flags: qr" in line or "no servers" in line
    return bool(line.strip())


def step(number: int, title: str) -> None:
    """Print what comes now."""
    say(f"\n--- {number}. {title}")


def say(text: str) -> None:
    """Print for the reader."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def check(claim: str, holds: bool) -> None:
    """Raise `StepFailed` unless the claim holds."""
    if not holds:
        raise StepFailed(f"this did not hold: {claim}")


def wait_for(
    what: str, condition: Callable[[], object], timeout_s: float = STEP_TIMEOUT_S
) -> None:
    """Wait until the condition holds; raise `StepFailed` when the time is up."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise StepFailed(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(0.05)


def walk_through(demo: Demo, bystander: Container) -> None:
    """Do every step of the walkthrough."""
    form_cluster(demo)
    add_published(demo)
    see_everywhere(demo)
    web = resolve(demo)
    fetch(demo, web)
    add_on_host_network(demo)
    kill(demo, web)
    remove(demo, bystander)
    stop(demo)


def form_cluster(demo: Demo) -> None:
    """Start two nodes, the second one joining the first."""
    for address in ADDRESSES.values():
        free = is_unused(address, 8087) and is_unused(address, 8088)
        claim = f"{address} has ports 8087 and 8088 free (a node? `make stop` ends it)"
        check(claim, free)
    step(0, "two nodes on one machine; any node may be the first")
    demo.start("uno")
    demo.start("dos", "--join", ADDRESSES["uno"])


def add_published(demo: Demo) -> None:
    """Add the service that publishes a port."""
    step(1, "on uno: start the second service of cluster.yml, wherever it fits")
    code = "h, t = settings.get_applications()\ncontainer_sup.add_service(t)"
    demo.type("uno", code)


def see_everywhere(demo: Demo) -> None:
    """See that both nodes know of the same container, and that it runs."""
    step(2, "both nodes see it")
    for name in ADDRESSES:
        wait_for_running(demo, name, count=1)
        demo.type(name, "container_sup.cloud_containers()")
    check("both nodes see the same", identities(demo, "uno") == identities(demo, "dos"))


def wait_for_running(demo: Demo, name: str, count: int) -> None:
    """Wait until a node sees so many containers run."""
    what = f"{count} running containers, as {name} sees it"
    wait_for(what, lambda: len(running(demo, name)) == count)


def running(demo: Demo, name: str) -> list[dict[str, Any]]:
    """Return the containers that run, as a node sees them."""
    return [c for c in demo.containers(name) if c["state"] == "running"]


def identities(demo: Demo, name: str) -> list[tuple[str, str, str]]:
    """Return what tells the containers apart that a node sees."""
    return sorted((c["name"], c["id"], c["node"]) for c in demo.containers(name))


def resolve(demo: Demo) -> dict[str, Any]:
    """Ask both nodes' DNS where it runs; return the container."""
    web = running(demo, "uno")[0]
    address, port = web["address"], web["ports"][0]["host_port"]
    step(3, "both nodes answer DNS for it")
    for name in ADDRESSES:
        expected = ("status: NOERROR", "flags: qr aa", rf"\sA\s+{re.escape(address)}$")
        demo.dig_until(name, "nginx.veo", "A", *expected)
    step(4, "DNS knows the port that Docker chose")
    srv = rf"\sSRV\s+\d+ \d+ {port} website\.nginx\.veo\.$"
    demo.dig_until("dos", "_website._tcp.nginx.veo", "SRV", "status: NOERROR", srv)
    return web


def fetch(demo: Demo, web: dict[str, Any]) -> None:
    """Fetch its page from where DNS said it is."""
    step(5, "it answers there")
    demo.curl(f"http://{web['address']}:{web['ports'][0]['host_port']}/")


def add_on_host_network(demo: Demo) -> None:
    """Add the other service of that name, which takes port 80 of its host."""
    step(6, "the first service of cluster.yml, on the host's own network")
    if not all(is_unused(address, 80) for address in ADDRESSES.values()):
        say("left out: something else has port 80 of this machine")
        return
    demo.type("uno", "h, t = settings.get_applications()\ncontainer_sup.add_service(h)")
    for name in ADDRESSES:
        wait_for_running(demo, name, count=2)
        addresses = {c["address"] for c in running(demo, name)}
        answers = [rf"\sA\s+{re.escape(address)}$" for address in addresses]
        demo.dig_until(name, "nginx.veo", "A", "status: NOERROR", *answers)
    host = next(c for c in running(demo, "uno") if not c["ports"])
    demo.curl(f"http://{host['address']}/")


def kill(demo: Demo, web: dict[str, Any]) -> None:
    """Kill the container's process; VEO starts it again and DNS follows."""
    step(7, "its process is killed: it comes back, and DNS has its new port")
    container = demo.engine.containers.get(web["id"])
    kill_process(container)
    wait_for("the container to be started again", lambda: restarted(demo, web))
    new = restarted(demo, web)[0]
    port = new["ports"][0]["host_port"]
    for name in ADDRESSES:
        demo.dig_until(name, "_website._tcp.nginx.veo", "SRV", rf" {port} website\.")
    demo.curl(f"http://{new['address']}:{port}/")


def kill_process(container: Container) -> None:
    """Kill a container's process by its id, or through the engine if we may not."""
    pid = container.attrs["State"]["Pid"]
    try:
        is_here = str(container.id) in Path(f"/proc/{pid}/cgroup").read_text()
        if not is_here:
            raise ProcessLookupError
        os.kill(pid, signal.SIGKILL)
        say(f"$ kill -9 {pid}")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        container.kill()
        say(f"$ docker kill {container.name}")


def restarted(demo: Demo, before: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what runs in the slot of a container after a restart."""
    return [
        seen
        for seen in running(demo, "uno")
        if (seen["uid"], seen["slot"]) == (before["uid"], before["slot"])
        and seen["restarts"] > before["restarts"]
    ]


def remove(demo: Demo, bystander: Container) -> None:
    """Remove the services: nothing of them is left, nothing else is touched."""
    step(8, "both services are removed")
    all_of_them = "for s in container_sup.services()"
    demo.type("uno", f"[container_sup.remove_service(s) {all_of_them}]")
    for name in ADDRESSES:
        demo.dig_until(
            name, "nginx.veo", "A", "status: NXDOMAIN", timeout_s=DNS_TIMEOUT_S
        )
    wait_for("the containers to be gone", lambda: not ours(demo))
    say("$ docker ps")
    for container in demo.engine.containers.list():
        say(f"{container.name}  {container.status}")
    bystander.reload()
    alive = bystander.status == "running"
    check("a container that is none of VEO's still runs", alive)


def stop(demo: Demo) -> None:
    """Stop both nodes."""
    step(9, "the nodes are stopped")
    for name in ADDRESSES:
        demo.show("veo", "stop", "--run-dir", str(demo.folder / name / "run"))


def ours(demo: Demo) -> list[Container]:
    """Return all containers of this cluster that the engine has."""
    label = f"veo.cluster={demo.cluster}"
    return demo.engine.containers.list(all=True, filters={"label": label})


@contextlib.contextmanager
def stage() -> Iterator[tuple[Demo, Container]]:
    """Have what the demo needs; take everything down at the end."""
    # Short, as the nodes' sockets lie below it.
    folder = Path(tempfile.mkdtemp(prefix="veo-demo-"))
    tag = secrets.token_hex(3)
    (folder / "cookie").write_text(secrets.token_urlsafe(32))
    (folder / "cookie").chmod(0o400)
    with connect(os.environ["DOCKER_HOST"], timeout_s=60) as engine:
        demo = Demo(
            folder=folder,
            cluster=f"demo-{tag}",
            dns_port=dns_port(ADDRESSES.values()),
            engine=engine,
        )
        bystander = engine.containers.create(
            "nginx:latest", name=f"bystander-{tag}", network_mode="none"
        )
        try:
            bystander.start()
            yield demo, bystander
        except BaseException:
            show_logs(folder)
            raise
        finally:
            end_nodes(folder)
            for container in [*ours(demo), bystander]:
                with contextlib.suppress(NotFound):
                    container.remove(force=True)
            shutil.rmtree(folder)


def show_logs(folder: Path) -> None:
    """Print the ends of the nodes' logs."""
    for log in sorted(folder.rglob("*.log")):
        say(f"\nthe end of {log.relative_to(folder)}:")
        say("\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:]))


def end_nodes(folder: Path) -> None:
    """Stop the nodes; kill those that do not stop."""
    for name in ADDRESSES:
        argv = [str(VEO), "stop", "--run-dir", str(folder / name / "run")]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(argv, capture_output=True, timeout=COMMAND_TIMEOUT_S)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if any(str(folder) in word for word in process.cmdline()):
                process.kill()


def main() -> int:
    """Run the demo; return the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    os.chdir(ROOT)
    begun = time.monotonic()
    try:
        with stage() as (demo, bystander):
            walk_through(demo, bystander)
    except StepFailed as failure:
        say(f"\nFAILED: {failure}")
        return 1
    except KeyboardInterrupt:
        return 130
    took = time.monotonic() - begun
    say(f"\nEvery step held; all is taken down again ({took:.0f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
