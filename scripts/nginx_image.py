"""Have the image `nginx:latest` on an engine, also where no registry is in reach.

    python -m scripts.nginx_image           on the engine of DOCKER_HOST
    python -m scripts.nginx_image FILE      as an archive for `docker load`

What stands is kept; else it is pulled; else it is built from Debian's nginx package.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException

from scripts.dockerd import connect

IMAGE = "nginx:latest"
ROOT = Path(__file__).resolve().parents[1]
ARCHIVE = ROOT / ".veo" / "nginx.tar"
# A registry that says nothing for so long is taken for absent.
PULL_SILENCE_S = 15
CONFIG = {
    "Cmd": ["nginx", "-g", "daemon off;"],
    "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
    "ExposedPorts": {"80/tcp": {}},
    "StopSignal": "SIGQUIT",
}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
SHELL_WORDS = ("sh", "wget", "sleep", "cat", "ls", "kill")


class BuildFailed(Exception):
    """The image could not be built; says why."""


def provide(url: str) -> None:
    """Have the image on the engine there."""
    with connect(url, timeout_s=120) as client:
        if is_there(client) or pull(url):
            return
        load(client, archive())


def is_there(client: docker.DockerClient, image: str = IMAGE) -> bool:
    """Tell whether the engine has the image."""
    try:
        client.images.get(image)
    except ImageNotFound:
        return False
    return True


def pull(url: str, image: str = IMAGE) -> bool:
    """Pull the image as long as the registry answers; tell whether it came."""
    sys.stderr.write(f"pulling {image}\n")
    name, _, tag = image.partition(":")
    try:
        with connect(url, timeout_s=PULL_SILENCE_S) as client:
            for line in client.api.pull(name, tag=tag, stream=True, decode=True):
                if "error" in line:
                    return False
            return is_there(client, image)
    except (APIError, RequestException):
        return False


def load(client: docker.DockerClient, path: Path) -> None:
    """Load an archive into the engine and see that its nginx takes its settings."""
    with path.open("rb") as file:
        client.images.load(file)
    client.containers.run(IMAGE, ["nginx", "-t"], remove=True, network_mode="none")


def archive() -> Path:
    """Return an archive of the image, built the first time."""
    if not ARCHIVE.exists():
        sys.stderr.write(f"building {IMAGE} from Debian's packages\n")
        ARCHIVE.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="veo-nginx-") as folder:
            unpack_packages(Path(folder))
            root = Path(folder) / "root"
            furnish(root)
            partial = ARCHIVE.with_suffix(f".{os.getpid()}")
            write_archive(root, partial)
        partial.rename(ARCHIVE)
    return ARCHIVE


def unpack_packages(folder: Path) -> None:
    """Unpack nginx, the libraries it is linked to and a shell into `folder`/root."""
    names = ["nginx", "nginx-common", "busybox-static"]
    asked = output("apt-cache", "depends", "--important", *names)
    if "nginx-core" in asked:
        names.append("nginx-core")
        asked = output("apt-cache", "depends", "--important", *names)
    names += re.findall(r"^ +\|?Depends: ((?:lib|zlib)\S+)", asked, re.MULTILINE)
    output("apt-get", "download", "-qq", *sorted(set(names)), cwd=folder)
    for package in folder.glob("*.deb"):
        output("dpkg", "-x", str(package), str(folder / "root"))


def output(*argv: str, cwd: Path | None = None) -> str:
    """Run a command and return what it prints; raise `BuildFailed` with its words."""
    try:
        return subprocess.run(
            argv, check=True, capture_output=True, text=True, cwd=cwd
        ).stdout
    except FileNotFoundError:
        raise BuildFailed(f"{IMAGE} cannot be built: no {argv[0]} here") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip() or f"exit status {error.returncode}"
        raise BuildFailed(
            f"{IMAGE} cannot be built: {' '.join(argv[:2])}: {said}"
        ) from None


def furnish(root: Path) -> None:
    """Do what the packages' install scripts would have done, as far as nginx needs."""
    root.chmod(0o755)
    for name in ("var/log/nginx", "var/lib/nginx", "run", "tmp", "var/www/html"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "etc/passwd").write_text(
        "root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n"
    )
    (root / "etc/group").write_text("root:x:0:\nwww-data:x:33:\n")
    for word in SHELL_WORDS:
        link = root / "bin" / word
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(busybox_of(root))
    (root / "var/log/nginx/access.log").symlink_to("/dev/stdout")
    (root / "var/log/nginx/error.log").symlink_to("/dev/stderr")
    (root / "var/www/html/index.html").write_bytes(
        (root / "usr/share/nginx/html/index.html").read_bytes()
    )
    site = (root / "etc/nginx/sites-available/default").read_text()
    enabled = root / "etc/nginx/sites-enabled/default"
    enabled.parent.mkdir(parents=True, exist_ok=True)
    # nginx refuses to start on [::] where the kernel has no IPv6.
    enabled.write_text(re.sub(r"(?m)^\s*listen \[::\]:80.*$", "", site))


def busybox_of(root: Path) -> str:
    """Return where the shell is in the image: Debian moved it once."""
    return next(
        f"/{p}" for p in ("usr/bin/busybox", "bin/busybox") if (root / p).exists()
    )


def write_archive(root: Path, path: Path) -> None:
    """Write the tree as a Docker image archive of one layer."""
    layer = path.with_suffix(".layer")
    with tarfile.open(layer, "w") as tar:
        tar.add(root, arcname=".", filter=owned_by_root)
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    machine = platform.machine()
    config = {
        "architecture": ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "created": datetime.now(UTC).isoformat(),
        "config": CONFIG,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created_by": "Debian's nginx package"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        tar.add(layer, arcname="layer.tar")
        for name, document in (("config.json", config), ("manifest.json", manifest)):
            data = json.dumps(document).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    layer.unlink()


def owned_by_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Forget who built it."""
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return info


def main(argv: list[str]) -> int:
    """Do what the command line says."""
    try:
        match argv:
            case []:
                provide(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
            case [path]:
                Path(path).write_bytes(archive().read_bytes())
            case _:
                sys.stderr.write("usage: python -m scripts.nginx_image [FILE]\n")
                return 2
    except (BuildFailed, DockerException, RequestException) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
