"""The resolver of musl, which Alpine's images have."""

from __future__ import annotations

from pathlib import Path

from tests.dns_programs import on_port_53, run, served

PROGRAM = r"""
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
        int error = getaddrinfo(argv[i], "80", &hints, &found);
        if (error) { printf("%s: %s\n", argv[i], gai_strerror(error)); continue; }
        for (; found; found = found->ai_next) {
            char host[100];
            getnameinfo(found->ai_addr, found->ai_addrlen, host, 100, 0, 0, 1);
            printf("%s: %s\n", argv[i], host);
        }
    }
}
"""
ITS_OWN = 'mount --bind $1/resolv.conf /etc/resolv.conf && shift && exec "$@"'
ADDRESS = "127.0.53.54"


async def test_getaddrinfo_of_musl(tmp_path: Path) -> None:
    """It asks all servers at once, for A and AAAA, and takes the first answer."""
    (tmp_path / "look.c").write_text(PROGRAM)
    program = tmp_path / "look"
    built = await run("musl-gcc", "-static", "-o", str(program), f"{program}.c")
    assert built.status == 0, built.text
    (tmp_path / "resolv.conf").write_text(f"nameserver {ADDRESS}\nsearch veo\n")
    async with served(tmp_path) as cluster, on_port_53(cluster, ADDRESS):
        said = await run(
            *("unshare", "--mount", "sh", "-c", ITS_OWN, "sh", str(tmp_path)),
            *(str(program), "web.veo", "web", "nothing.veo"),
        )
    assert said.lines == [
        "nothing.veo: Name does not resolve",
        "web.veo: 127.0.0.1",
        "web.veo: 127.0.0.2",
        "web: 127.0.0.1",
        "web: 127.0.0.2",
    ]
