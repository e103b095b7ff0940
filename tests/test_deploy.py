"""What is shipped to run VEO with: systemd's unit, the image, the Compose file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from veo_shell import settings

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "deploy" / "veo.service"
IMAGE = ROOT / "deploy" / "image"


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    unit = tmp_path / UNIT.name
    # It looks for the program that is to be started.
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/veo", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
    )
    # It reads the machine's own units too, and has something to say of some.
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, said) == (0, []), done.stderr


def test_the_unit_starts_veo_with_options_that_it_has() -> None:
    (start,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    words = start.split()
    assert words[:2] == ["/usr/local/bin/veo", "start"]
    argv = [sys.executable, "-m", "veo_shell", "start", "--help"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert all(word in done.stdout for word in words if word.startswith("--"))


def test_the_file_of_the_containers_is_right() -> None:
    assert settings.check(ROOT / "deploy" / "veo" / "cluster.yml") == []


def test_the_image_is_made_of_what_it_needs_alone() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    taken = {line for line in lines if line.startswith("!")}
    assert "*" in lines  # no .env, no state, no history
    assert taken == {"!setup.cfg", "!veo_shell", "!deploy/image"}


def test_what_the_image_runs_can_be_run() -> None:
    services = IMAGE / "services"
    scripts = [IMAGE / "init", IMAGE / "ended", *services.glob("*/*")]
    assert len(scripts) == 8
    for path in scripts:
        assert os.access(path, os.X_OK), path
        subprocess.run(["sh", "-n", str(path)], check=True)


def test_compose_wants_a_cookie() -> None:
    """None is shipped: two clusters would have one secret."""
    text = (ROOT / "docker-compose.yml").read_text()
    assert re.search(r"^  COOKIE: \$\{COOKIE:\?", text, re.MULTILINE)
    assert "ports:" not in text  # nothing is published
    assert text.count("<<: *node") == 3
