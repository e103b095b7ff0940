"""Have the image that the Dockerfile begins from, also where no registry is in reach.

    python -m scripts.base_image           on the engine of DOCKER_HOST

What stands is kept; else it is pulled; else it is built from Debian's packages, which
takes root and a Debian or Ubuntu (`scripts/need mmdebstrap`). One that is built trusts
the certificates that this machine trusts, as what is between it and PyPI may have its
own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from docker.errors import DockerException
from requests.exceptions import RequestException

from scripts.dockerd import connect
from scripts.nginx_image import BuildFailed, is_there, pull

IMAGE = "debian:stable-slim"
ROOT = Path(__file__).resolve().parents[1]
SUITE = "stable"
# A machine that reaches nothing may have no right time either.
APT = ('Acquire::Check-Valid-Until "false"', 'Apt::Install-Recommends "false"')
CERTIFICATES = 'cp -rL --remove-destination /etc/ssl/certs/. "$1/etc/ssl/certs/"'
# What Debian's own image leaves out too.
SLIM = 'rm -rf "$1"/usr/share/doc/* "$1"/usr/share/man/* "$1"/usr/share/locale/*'


def provide(url: str) -> None:
    """Have the image on the engine there."""
    with connect(url, timeout_s=120) as client:
        if is_there(client, IMAGE) or pull(url, IMAGE):
            return
        sys.stderr.write(f"building {IMAGE} from Debian's packages\n")
        with tempfile.TemporaryDirectory(prefix="veo-base-") as folder:
            path = Path(folder) / "base.tar"
            bootstrap(path)
            name, _, tag = IMAGE.partition(":")
            client.api.import_image(
                str(path), repository=name, tag=tag, changes=['CMD ["bash"]']
            )


def bootstrap(path: Path) -> None:
    """Write the root of a small Debian as an archive; raise `BuildFailed`."""
    need = [str(ROOT / "scripts" / "need"), "mmdebstrap"]
    argv = ["mmdebstrap", "--quiet", "--variant=apt", "--include=ca-certificates"]
    argv += ["--dpkgopt=force-unsafe-io", *(f"--aptopt={option}" for option in APT)]
    argv += [f"--customize-hook={hook}" for hook in (CERTIFICATES, SLIM)]
    argv += [SUITE, str(path)]
    for command in (need, argv):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = done.stderr.strip().rpartition("\n")[2]
            raise BuildFailed(f"{IMAGE} cannot be built: {said}")


def main() -> int:
    """Do what the command line says."""
    try:
        provide(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    except (BuildFailed, DockerException, RequestException) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
