"""This machine, as the kernel tells it by other ways."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.local_node import environment
from veo_shell.edge.host import LocalHost, own_address, primary_address, resolve
from veo_shell.errors import StartError, UsageError

LINK = "ip link add one up type veth peer name two && ip link set two up"


def test_resources_are_those_of_the_kernel(tmp_path: Path) -> None:
    seen = LocalHost(tmp_path).resources()
    disk = os.statvfs(tmp_path)
    assert seen.cpu.count == os.sysconf("SC_NPROCESSORS_ONLN")
    assert 0 <= seen.cpu.load < 10_000
    total = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal:")
    )
    assert seen.memory.total_bytes == total
    assert 0 < seen.memory.available_bytes <= total
    assert seen.disk.total_bytes == disk.f_blocks * disk.f_frsize
    assert 0 <= seen.disk.free_bytes <= seen.disk.total_bytes


def test_its_boot_has_a_name_that_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = LocalHost(tmp_path)
    boot = host.boot_id()
    assert uuid.UUID(boot)
    assert LocalHost(tmp_path).boot_id() == boot
    monkeypatch.setattr("veo_shell.edge.host.BOOT_ID", tmp_path / "none")
    assert host.boot_id() == ""


@pytest.mark.parametrize(
    ("address", "is_there"),
    [("127.0.0.2", True), ("::1", True), ("192.0.2.7", False), ("2001:db8::7", False)],
)
def test_it_knows_its_addresses(tmp_path: Path, address: str, is_there: bool) -> None:
    if address == "::1" and not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    assert LocalHost(tmp_path).has_address(address) is is_there


def test_resources_are_of_the_disk_with_the_data() -> None:
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_mount():
        pytest.skip("no second disk here")
    disk = os.statvfs(shared_memory)
    seen = LocalHost(shared_memory).resources()
    assert seen.disk.total_bytes == disk.f_blocks * disk.f_frsize


def test_the_primary_address_is_one_of_ours() -> None:
    address = primary_address()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((address, 0))


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ("true", "127.0.0.1"),
        ("ip link set lo up", "127.0.0.1"),
        (
            f"{LINK} && ip addr add 10.1.2.3/24 dev one && "
            "ip route add default via 10.1.2.1",
            "10.1.2.3",
        ),
        (
            f"{LINK} && ip addr add 2001:db8:7::3/64 dev one nodad && "
            "ip -6 route add default via 2001:db8:7::1",
            "2001:db8:7::3",
        ),
    ],
    ids=["no network", "loopback", "IPv4", "only IPv6"],
)
def test_the_primary_address_elsewhere(links: str, expected: str) -> None:
    code = "from veo_shell.edge.host import primary_address as p; print(p())"
    assert elsewhere(links, code) == f"{expected}\n"


@pytest.mark.parametrize("allowed", [0, 1])
@pytest.mark.parametrize(
    ("version", "own", "other"),
    [
        (4, ("127.0.0.2", "10.1.2.3", "10.1.2.4", "10.7.0.9"), "192.0.2.7"),
        (6, ("::1", "2001:db8:7::3"), "2001:db8:7::4"),
    ],
)
def test_it_has_no_address_for_that_it_may_be_bound(
    version: int, own: tuple[str, ...], other: str, allowed: int
) -> None:
    """As where keepalived or HAProxy runs; whoever asks DNS was taken for this host."""
    links = (
        f"ip link set lo up && {LINK} && ip addr add 10.1.2.3/24 dev one && "
        "ip addr add 10.1.2.4/24 dev one && ip route add local 10.7.0.0/24 dev lo && "
        "ip addr add 2001:db8:7::3/64 dev one nodad && "
        f"echo {allowed} > /proc/sys/net/ipv{version}/ip_nonlocal_bind"
    )
    code = (
        "from pathlib import Path; from veo_shell.edge.host import LocalHost;"
        f"print(*filter(LocalHost(Path('/')).has_address, {(*own, other)!r}))"
    )
    assert elsewhere(links, code).split() == list(own)


def elsewhere(links: str, code: str) -> str:
    """Return what code prints in a network of its own with these links."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("needs root, ip and unshare")
    script = f'{links} && "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "--net", "bash", "-c", script, sys.executable, code],
        env=environment(Path("/")),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if "not supported" in done.stderr or "not permitted" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "203.0.113.9", "2001:db8::1"])
def test_an_address_stays_as_it_is(text: str) -> None:
    assert own_address(text) == text


def test_a_name_gives_its_ipv4_address_first() -> None:
    assert resolve("--join localhost", "localhost") == "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0.0.0.0", "not the address of one host"),
        ("::", "not the address of one host"),
        ("224.0.0.1", "not the address of one host"),
        ("ff02::1", "not the address of one host"),
        ("fe80::1", "link-local"),
    ],
)
def test_an_address_that_others_cannot_use(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"^--address {text}: .*{why}"):
        own_address(text)


@pytest.mark.parametrize("host", ["no.such.invalid", "a" * 80 + ".x", "a..b", "[::1"])
def test_a_host_without_an_address(host: str) -> None:
    with pytest.raises(StartError) as caught:
        resolve("--join it", host)
    assert str(caught.value).startswith("--join it: ")
    assert host in str(caught.value)
