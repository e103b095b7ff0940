"""What a container of a real engine can do with each kind of mount."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import docker
import pytest

from scripts.dockerd import connect
from tests.engines import BUSYBOX
from veo_shell.container_builder import build
from veo_shell.core.model import Mount, MountKind, Service

pytestmark = pytest.mark.docker

WRITES = "touch /m/new && cat /m/new /m/file"


@pytest.fixture(scope="module")
def client(docker_url: str) -> Iterator[docker.DockerClient]:
    with connect(docker_url, timeout_s=60) as client:
        yield client


@pytest.fixture
def volume(client: docker.DockerClient) -> Iterator[str]:
    """Have a name for a volume; what is made under it goes."""
    name = f"veo-test-{uuid.uuid4().hex[:8]}"
    yield name
    client.volumes.get(name).remove()


def ran(client: docker.DockerClient, script: str, *mounts: Mount) -> tuple[int, str]:
    """Return the exit code of a container that runs a script, and what that says."""
    service = Service(
        name="mounts", image=BUSYBOX, mounts=mounts, args=("sh", "-c", script)
    )
    container = created(client, service)
    try:
        container.start()
        code = container.wait(timeout=60)["StatusCode"]
        return int(code), container.logs().decode()
    finally:
        container.remove(force=True, v=True)


def created(client: docker.DockerClient, service: Service) -> Any:
    """Return a container as VEO makes it."""
    api: Any = client.api  # the stubs leave the call untyped
    made = api.create_container_from_config(build(service))
    return client.containers.get(made["Id"])


def bind(folder: Path, **changes: Any) -> Mount:
    made = Mount(kind=MountKind.BIND, source=str(folder), target="/m")
    return attrs.evolve(made, **changes)


def test_a_bind_is_a_folder_of_the_host(
    client: docker.DockerClient, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("of the host")
    assert ran(client, WRITES, bind(tmp_path)) == (0, "of the host")
    assert (tmp_path / "new").exists()


def test_a_named_volume_keeps_what_is_in_it(
    client: docker.DockerClient, volume: str
) -> None:
    mount = Mount(kind=MountKind.VOLUME, source=volume, target="/m")
    assert ran(client, "echo kept >/m/file", mount) == (0, "")
    assert ran(client, "cat /m/file", mount) == (0, "kept\n")
    code, said = ran(client, WRITES, attrs.evolve(mount, read_only=True))
    assert code != 0
    assert "Read-only file system" in said


def test_a_volume_without_a_name_goes_with_its_container(
    client: docker.DockerClient,
) -> None:
    before = {held.name for held in client.volumes.list()}
    mount = Mount(kind=MountKind.VOLUME, target="/m")
    assert ran(client, "echo x >/m/file && cat /m/file", mount) == (0, "x\n")
    assert {held.name for held in client.volumes.list()} <= before


def test_a_tmpfs_is_in_memory(client: docker.DockerClient) -> None:
    mount = Mount(kind=MountKind.TMPFS, target="/m")
    code, said = ran(client, "touch /m/new && cat /proc/mounts", mount)
    assert code == 0
    assert [line.split()[2] for line in said.splitlines() if " /m " in line] == [
        "tmpfs"
    ]
    code, _ = ran(client, "touch /m/new", attrs.evolve(mount, read_only=True))
    assert code != 0


def test_what_is_read_only_cannot_be_written(
    client: docker.DockerClient, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    code, said = ran(client, WRITES, bind(tmp_path, read_only=True))
    assert (code != 0, "Read-only file system" in said) == (True, True)
    assert not (tmp_path / "new").exists()


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """Have a folder whose mounts are passed on."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    mount("--bind", str(tmp_path), str(tmp_path))
    try:
        mount("--make-shared", str(tmp_path))
        (tmp_path / "sub").mkdir()
        yield tmp_path
    finally:
        subprocess.run(["umount", "-R", str(tmp_path)], check=True)


def mount(*argv: str) -> None:
    subprocess.run(["mount", *argv], check=True)


@pytest.mark.parametrize(
    ("propagation", "is_seen"), [("rslave", True), ("rshared", True), ("", False)]
)
def test_what_is_mounted_later_is_seen_as_the_propagation_says(
    client: docker.DockerClient, shared: Path, propagation: str, is_seen: bool
) -> None:
    service = Service(
        name="mounts",
        image=BUSYBOX,
        mounts=(bind(shared, propagation=propagation),),
        args=("sh", "-c", "while sleep 1; do :; done"),
    )
    container = created(client, service)
    try:
        container.start()
        mount("-t", "tmpfs", "none", str(shared / "sub"))
        (shared / "sub" / "file").touch()
        seen = container.exec_run(["test", "-e", "/m/sub/file"]).exit_code == 0
        assert seen is is_seen
    finally:
        container.remove(force=True, v=True)
