"""`veo resolver` with systemd-resolved itself, on a host of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ADDRESSES = ["192.0.2.1", "192.0.2.2"]


@pytest.fixture(scope="module")
def resolved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Have systemd-resolved unpacked: installed, it would take over this machine."""
    folder = tmp_path_factory.mktemp("resolved")
    packages = ["systemd-resolved", "libsystemd-shared"]
    subprocess.run(["apt-get", "download", "-qq", *packages], cwd=folder, check=True)
    for package in folder.glob("*.deb"):
        root = str(folder / "root")
        subprocess.run(["dpkg", "-x", str(package), root], check=True)
    return folder / "root"


@pytest.mark.timeout(180)
def test_it_asks_the_node_about_the_zone_until_that_is_taken_back(
    resolved: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            *("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc"),
            *(sys.executable, "-m", "compat.resolved_host"),
            *(str(resolved), str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    world = {"www.example.com": ["203.0.113.7"], "none.example.com": []}
    assert told["before"] == {"nginx.veo": [], **world}
    assert told["installed"] == {"nginx.veo": ADDRESSES, **world}
    assert told["removed"] == {"nginx.veo": [], **world}
    assert "systemd-resolved asks it for veo. now" in told["installed: said"][0]
    assert "DNS=192.0.2.1\nDomains=~veo\n" in told["drop-in"]
    assert not told["drop-in stays"]
    assert told["resolv.conf"] == "nameserver 127.0.0.53\n"
