"""A host of its own namespaces with systemd-resolved, told what it asks by JSON.

Run by `unshare --net --mount --pid --fork --mount-proc`; argument: where the programs
of the package systemd-resolved are unpacked.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.zones import DOS, UNO, make_zone, two_webs
from veo_shell.cli_resolver import trouble
from veo_shell.edge.dns_forwarder import Forwarder
from veo_shell.edge.dns_server import DnsServer
from veo_shell.edge.dns_upstreams import Upstreams
from veo_shell.edge.host_resolver import HostResolver

NODE, UPLINK = "192.0.2.1", "192.0.2.8"
LINK = "ADMIN_STATE=configured\nOPER_STATE=routable\nDNS={}\n"
USER = "systemd-resolve:x:991:991::/:/bin/false\n"
GROUP = "systemd-resolve:x:991:\n"
STUB = "nameserver 127.0.0.53\n"
DROP_IN = Path("/etc/systemd/resolved.conf.d/veo.conf")
SYSTEMCTL = """#!/bin/sh
answers() {{ ss -Hlun src 127.0.0.53 | grep -q :53; }}
kill "$(cat {run}/pid)" 2>/dev/null
while answers; do sleep 0.05; done
LD_LIBRARY_PATH={root}/usr/lib/{arch}/systemd {root}/lib/systemd/systemd-resolved \\
    >>{run}/log 2>&1 </dev/null &
echo $! >{run}/pid
until answers; do sleep 0.05; done
"""


def sh(*argv: str) -> None:
    subprocess.run(argv, check=True)


def over(path: str, text: str, folder: Path) -> None:
    """Have a file say something else, for this host alone."""
    own = folder / Path(path).name
    own.write_text(text)
    sh("mount", "--bind", str(own), path)


def raise_host(root: Path, folder: Path) -> None:
    """Have a link with a server of its own, and systemd-resolved, which knows of it."""
    for words in (
        "link set lo up",
        "link add eth9 type veth peer name eth9p",
        "link set eth9p up",
        f"address add {NODE}/32 dev lo",
        f"address add {UPLINK}/24 dev eth9",
        "link set eth9 up",
    ):
        sh("ip", *words.split())
    sh("mount", "-t", "tmpfs", "tmpfs", "/run")
    Path("/etc/systemd").mkdir(exist_ok=True)
    sh("mount", "-t", "tmpfs", "tmpfs", "/etc/systemd")
    links = Path("/run/systemd/netif/links")
    links.mkdir(parents=True)
    index = socket.if_nametoindex("eth9")
    (links / str(index)).write_text(LINK.format(UPLINK))
    Path("/run/systemd/resolve").mkdir()
    os.chown("/run/systemd/resolve", 991, 991)
    over("/etc/passwd", Path("/etc/passwd").read_text() + USER, folder)
    over("/etc/group", Path("/etc/group").read_text() + GROUP, folder)
    over("/etc/resolv.conf", STUB, folder)
    (arch,) = (path.parent.name for path in root.glob("usr/lib/*/systemd"))
    (folder / "pid").write_text("")
    systemctl = folder / "systemctl"
    systemctl.write_text(SYSTEMCTL.format(run=folder, root=root, arch=arch))
    systemctl.chmod(0o755)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"


def uplink(folder: Path) -> subprocess.Popen[bytes]:
    """Have dnsmasq answer on the link."""
    return subprocess.Popen(
        [
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts"),
            *(f"--listen-address={UPLINK}", "--bind-interfaces", "--no-resolv"),
            *("--user=", "--group=", f"--pid-file={folder}/dnsmasq", "--log-queries"),
            *(f"--log-facility={folder}/queries", "--local=/example.com/"),
            "--host-record=www.example.com,203.0.113.7",
        ]
    )


async def find(name: str) -> list[str]:
    """Return the addresses of a name, as any program of this host gets them."""
    process = await asyncio.create_subprocess_exec(
        *("getent", "ahostsv4", name), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return sorted({line.split()[0] for line in output.decode().splitlines()})


async def main() -> dict[str, object]:
    """Ask before, while and after systemd-resolved asks the node."""
    zone = make_zone(*two_webs(), nodes=(UNO, DOS))
    forwarder = Forwarder(Upstreams(((NODE,), 53)))
    server = DnsServer(forwarder=forwarder)

    def answer(packet: bytes, udp: bool, asker: str, code_flags: int) -> bytes | None:
        return zone.answer(packet, udp, code_flags)

    await server.start(NODE, 53, answer, lambda asker: True)
    host = HostResolver(trouble=trouble)
    told: dict[str, object] = {}

    async def look(when: str, do: Callable[[], list[str]]) -> None:
        told[f"{when}: said"] = await asyncio.to_thread(do)
        names = ("nginx.veo", "www.example.com", "none.example.com")
        told[when] = {name: await find(name) for name in names}

    await asyncio.to_thread(sh, "systemctl")
    await look("before", list)
    await look("installed", lambda: host.install(NODE, 53, ("veo.",)))
    told["drop-in"] = await asyncio.to_thread(DROP_IN.read_text)
    await look("removed", host.remove)
    told["drop-in stays"] = await asyncio.to_thread(DROP_IN.exists)
    await server.stop()
    return told


def run(root: Path, folder: Path) -> None:
    """Raise the host, and print what was found on it."""
    raise_host(root, folder)
    with uplink(folder) as process:
        told = asyncio.run(main())
        process.terminate()
    told["resolv.conf"] = Path("/etc/resolv.conf").read_text()
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
