"""The rig itself: what other tests take for granted about its hosts."""

from __future__ import annotations

import functools
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from scripts.dockerd import is_running, wait_until
from tests.rig.rig import BASE, PREFIX, Rig, namespace_file

pytestmark = pytest.mark.rig
ROOT = Path(__file__).parents[2]
FOLDER = str(ROOT / "tests" / "rig")
SERVE = (sys.executable, "-m", "http.server", "8000", "--directory", FOLDER)


def can_reach(rig: Rig, source: str, target: str) -> bool:
    """Tell whether a host gets an answer from the web server of another."""
    url = f"http://{rig.address(target)}:8000/"
    return rig.run(source, "curl", "-sm1", url, check=False).returncode == 0


def hears(rig: Rig, source: str, target: str) -> bool:
    """Tell the same of one that may need a moment to be back."""
    return wait_until(functools.partial(can_reach, rig, source, target), 10)


@pytest.fixture(scope="module")
def web(rig: Rig) -> Iterator[Rig]:
    """Have a web server on every host."""
    servers = [rig.popen(host, *SERVE, stderr=subprocess.DEVNULL) for host in rig.names]
    assert all(hears(rig, host, host) for host in rig.names)
    yield rig
    for server in servers:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def nginx(rig: Rig, nginx_archive: Path) -> Rig:
    """Have `nginx:latest` on every engine."""
    rig.load(nginx_archive)
    return rig


def test_hosts_reach_each_other(web: Rig) -> None:
    assert can_reach(web, "uno", "dos")
    assert can_reach(web, "dos", "uno")


def test_a_cut_host_reaches_itself_only_until_it_is_mended(web: Rig) -> None:
    web.cut("dos")
    assert not can_reach(web, "uno", "dos")
    assert can_reach(web, "dos", "dos")
    web.mend("dos")
    assert hears(web, "uno", "dos")


def test_split_hosts_are_joined_again(web: Rig) -> None:
    web.split("uno", "dos")
    assert not can_reach(web, "uno", "dos")
    assert not can_reach(web, "dos", "uno")
    web.join("uno", "dos")
    assert can_reach(web, "uno", "dos")


def test_hosts_that_are_parted_keep_each_other() -> None:
    with Rig(("uno", "dos", "tres")) as rig:
        for host in rig.names:
            rig.popen(host, *SERVE, stderr=subprocess.DEVNULL)
            assert hears(rig, host, host)
        rig.part("uno")
        assert not can_reach(rig, "uno", "dos")
        assert not can_reach(rig, "tres", "uno")
        assert can_reach(rig, "tres", "dos")
        rig.unite("uno")
        assert can_reach(rig, "uno", "dos")
        assert can_reach(rig, "tres", "uno")


def test_what_is_called_inside_has_the_network_of_the_host(rig: Rig) -> None:
    def own_addresses() -> set[str]:
        addresses = psutil.net_if_addrs()["eth0"]
        return {a.address for a in addresses if a.family is socket.AF_INET}

    assert rig.inside("dos", own_addresses) == {rig.address("dos")}


def test_a_small_disk_is_full_soon_and_goes_with_the_rig() -> None:
    with Rig(("tres",)) as rig:
        folder = rig.disk("tres", 1)
        with pytest.raises(OSError, match="No space left"):
            (folder / "file").write_bytes(bytes(2_000_000))
    assert not folder.exists()


def test_loss_drops_what_a_host_receives_until_it_is_ended(web: Rig) -> None:
    web.loss("dos", 1)
    assert not can_reach(web, "uno", "dos")
    web.loss("dos", 0)
    assert hears(web, "uno", "dos")


def test_a_published_port_is_reached_from_the_other_host(nginx: Rig) -> None:
    with nginx.client("uno") as engine:
        container = engine.containers.run(
            "nginx:latest", detach=True, ports={"80/tcp": (nginx.address("uno"), 8080)}
        )
        url = f"http://{nginx.address('uno')}:8080/"
        page = nginx.run("dos", "curl", "-s", "--retry-all-errors", "--retry", "5", url)
        container.remove(force=True)
    assert "Welcome to nginx!" in page.stdout


def test_each_host_has_an_engine_of_its_own(nginx: Rig) -> None:
    with nginx.client("uno") as uno, nginx.client("dos") as dos:
        container = uno.containers.create("nginx:latest")
        assert [c.id for c in uno.containers.list(all=True)] == [container.id]
        assert dos.containers.list(all=True) == []
        container.remove()


def test_a_failing_command_shows_its_words(rig: Rig) -> None:
    with pytest.raises(AssertionError, match="cannot access"):
        rig.run("uno", "ls", "/no/such/place")


def test_power_loss_ends_all_that_runs_and_the_host_comes_back(
    nginx_archive: Path,
) -> None:
    with Rig(("tres",)) as rig:
        rig.load(nginx_archive)
        with rig.client("tres") as engine:
            container = engine.containers.run("nginx:latest", detach=True)
            container.reload()
            nginx = psutil.Process(container.attrs["State"]["Pid"])
            process = rig.popen("tres", "sleep", "1000")
            rig.fail_power("tres")
            assert process.wait(5) == -9
            assert not is_running(nginx)
        rig.restore_power("tres")
        with rig.client("tres") as engine:
            assert engine.containers.get(str(container.id)).status == "exited"


def test_a_killed_engine_takes_its_containers_along(nginx: Rig) -> None:
    with nginx.client("dos") as engine:
        container = engine.containers.run("nginx:latest", detach=True)
        nginx.kill_engine("dos")
    nginx.start_engine("dos")
    with nginx.client("dos") as engine:
        again = engine.containers.get(str(container.id))
        assert again.status == "exited"
        again.remove()


def test_hosts_that_are_cleared_are_as_they_were_at_first(nginx: Rig) -> None:
    rules = nginx.run("dos", "iptables", "-S").stdout
    nginx.fail_power("uno")
    nginx.loss("dos", 0.5)
    nginx.run("dos", "iptables", "-I", "INPUT", "-j", "DROP")
    with nginx.client("dos") as engine:
        engine.containers.create("nginx:latest", volumes=["left:/data"])
    process = nginx.popen("dos", "sleep", "1000")
    nginx.clear()
    assert process.poll() is not None
    assert nginx.run("dos", "iptables", "-S").stdout == rules
    for host in nginx.names:
        with nginx.client(host) as engine:
            assert engine.containers.list(all=True) == engine.volumes.list() == []
            assert engine.images.list("nginx:latest")


def test_a_rig_comes_up_within_seconds() -> None:
    begun = time.monotonic()
    with Rig(("uno", "dos")):
        assert time.monotonic() - begun < 10


def test_a_killed_run_is_cleaned_up_by_the_next() -> None:
    code = (
        "import os, signal; from tests.rig.rig import Rig; rig = Rig(('uno',));"
        "rig.popen('uno', 'sleep', '1000', stdout=2);"
        "print(rig.home, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    crashed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    home = Path(crashed.stdout.strip())
    assert crashed.returncode == -9
    assert home.is_dir()
    assert home.name.startswith(PREFIX)
    assert home.parent == BASE
    with Rig(()):
        assert not home.exists()
    assert not namespace_file(f"{home.name}-uno").exists()
    assert not any(str(home) in line for line in command_lines())


def command_lines() -> Iterator[str]:
    """Yield the command lines of all processes."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield file.read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
