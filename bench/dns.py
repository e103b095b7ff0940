"""DNS of a node among 100 with 10,000 services, beside Knot and dnsmasq.

`dnsperf` asks each in turn, one after the other in every round; each answers with one
worker. What it takes of a processor is that of the whole process: the node hears its 99
peers meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import re
import struct
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from pathlib import Path

import attrs
import dns.edns
import dns.exception
import dns.message
import dns.query
import psutil

from bench.crowd import ADDRESS as NODE_ADDRESS
from bench.crowd import Crowd, crowd, node, spent_s, until_known
from bench.population import CONTAINERS
from bench.report import line, ratio, say, spread, tail
from scripts.ports import dns_port

SERVICES = CONTAINERS
KNOT, DNSMASQ = "127.0.0.81", "127.0.0.82"
ASK_S = 3.0
CALM_PER_S = 2_000
CHANGES_PER_S = 100
DISTINCT = 100_000
UP_S = 30.0
SEED = 1
ONE = "service0.veo."
PER_S = re.compile(r"Queries per second:\s+([\d.]+)")
ANSWERED = re.compile(r"Queries completed:\s+(\d+)")
LATENCY = re.compile(r"^> \w+ .* ([\d.]+)$", re.MULTILINE)


@attrs.frozen(kw_only=True)
class Answerer:
    """A server that is measured."""

    name: str
    address: str
    port: int
    process: psutil.Process


@attrs.frozen(kw_only=True)
class Taken:
    """What one server made of one load: answers a second, processor time of each."""

    per_s: float
    cpu_us: float


def bench(rounds: int) -> None:
    """Measure and print."""
    subprocess.run(
        ["scripts/need", "--package", "dnsperf", "knot", "dnsmasq-base"], check=True
    )
    asyncio.run(_bench(rounds))


async def _bench(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="veo-bench-") as name:
        folder = Path(name)
        one, many, absent = loads(folder)
        port = dns_port([NODE_ADDRESS])
        async with crowd(SERVICES) as others:
            with node(port) as (process, client):
                await until_known(process, client)
                veo = Answerer(
                    name="VEO", address=NODE_ADDRESS, port=port, process=process
                )
                with knot(folder) as its, dnsmasq(folder) as other:
                    await compare(rounds, others, (veo, its, other), one, many, absent)


async def compare(
    rounds: int,
    others: Crowd,
    servers: tuple[Answerer, Answerer, Answerer],
    one: Path,
    many: Path,
    absent: Path,
) -> None:
    """Measure every load in every round, and print."""
    found: dict[tuple[str, str], list[Taken]] = {}
    calm_ms: dict[str, list[float]] = {}
    gaps_s: list[float] = []
    veo, its, _ = servers
    quiet_s = await gaps(others, asyncio.sleep(ASK_S * 2))
    for _ in range(rounds):
        for server in servers:
            for what, load, more in (
                ("one", one, ()),
                ("many", many, ()),
                ("absent", absent, ()),
                ("tcp", one, ("-m", "tcp", "-c", "100", "-q", "1000")),
            ):
                if what == "tcp" and server.name == "dnsmasq":
                    continue
                taken = await ask(server, load, *more)
                found.setdefault((server.name, what), []).append(taken)
        async with changing(others):
            taken = await ask(veo, one)
            found.setdefault((veo.name, "changing"), []).append(taken)
            for server in (veo, its):
                took_ms = await latencies_ms(server, one)
                calm_ms.setdefault(server.name, []).extend(took_ms)
        gaps_s += await gaps(others, ask(veo, absent))
    report(found)
    what = "100 changes/s: an answer, at 2,000 questions/s"
    tail(f"{what}: VEO", calm_ms["VEO"], "ms", aim="p99 ≤ 2")
    tail("  of Knot, which changes nothing, at that time", calm_ms["Knot"], "ms")
    late_ms = 1000 * (max(gaps_s) - max(quiet_s))
    what = "heartbeats' longest gap under a flood, less that in quiet"
    say(line(what, f"{late_ms:.0f} ms", "≤ 100 ms"))


def report(found: dict[tuple[str, str], list[Taken]]) -> None:
    """Print each load's figures, and their ratios in the same round."""

    def per_s(name: str, what: str = "one") -> list[float]:
        return [taken.per_s for taken in found[name, what]]

    def cpu_us(name: str) -> list[float]:
        return [taken.cpu_us for taken in found[name, "one"]]

    for name in ("VEO", "Knot", "dnsmasq"):
        spread(f"one name, UDP: {name}", per_s(name), "/s")
        spread("  processor time of each", cpu_us(name), "µs")
    ratio("dnsmasq's", per_s("VEO"), per_s("dnsmasq"), aim="≥ 1")
    ratio("dnsmasq's processor time", cpu_us("VEO"), cpu_us("dnsmasq"), aim="≤ 1")
    ratio("Knot's", per_s("VEO"), per_s("Knot"), aim="≥ 0.9")
    rows = (
        ("many", "10,000 names, random case, a cookie of its own in each", "≥ 0.8"),
        ("absent", "names that do not exist, all distinct", "≥ 0.6"),
        ("changing", "one name, while 100 records change a second", "≥ 0.8"),
    )
    for what, text, aim in rows:
        spread(f"{text}: VEO", per_s("VEO", what), "/s")
        ratio("one name", per_s("VEO", what), per_s("VEO"), aim=aim)
        for name in ("Knot", "dnsmasq"):
            if (name, what) in found:
                ratio(f"{name}'s", per_s("VEO", what), per_s(name, what))
    spread("TCP, pipelined, 100 connections: VEO", per_s("VEO", "tcp"), "/s")
    ratio("Knot's", per_s("VEO", "tcp"), per_s("Knot", "tcp"), aim="≥ 0.5")


async def ask(server: Answerer, load: Path, *options: str) -> Taken:
    """Have `dnsperf` ask as fast as it is answered."""
    before_s = spent_s(server.process)
    said = await dnsperf(server, load, *(options or ("-c", "8", "-q", "100")))
    cpu_s = spent_s(server.process) - before_s
    answered = int(_only(ANSWERED, said))
    return Taken(per_s=float(_only(PER_S, said)), cpu_us=1e6 * cpu_s / answered)


async def latencies_ms(server: Answerer, load: Path) -> list[float]:
    """Return what answers take where questions come at a pace."""
    said = await dnsperf(server, load, "-v", "-Q", str(CALM_PER_S))
    return [1000 * float(took) for took in LATENCY.findall(said)]


async def dnsperf(server: Answerer, load: Path, *options: str) -> str:
    """Return what `dnsperf` prints."""
    process = await asyncio.create_subprocess_exec(
        *("dnsperf", "-s", server.address, "-p", str(server.port)),
        *("-d", str(load), "-B", "-l", str(int(ASK_S)), "-T", "1", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


def _only(pattern: re.Pattern[str], said: str) -> str:
    found = pattern.search(said)
    assert found, said
    return found[1]


@contextlib.asynccontextmanager
async def changing(others: Crowd) -> AsyncIterator[None]:
    """Have records change, 100 a second, evenly."""
    done = asyncio.Event()

    async def change() -> None:
        begun_s = time.monotonic()
        for number in itertools.count():
            others.change(number)
            due_s = begun_s + (number + 1) / CHANGES_PER_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), due_s - time.monotonic())
                return

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(change())
        yield
        done.set()


async def gaps(others: Crowd, meanwhile: Awaitable[object]) -> list[float]:
    """Return the times between the node's heartbeats while something goes on."""
    others.heard_s.clear()
    await meanwhile
    return [later - sooner for sooner, later in itertools.pairwise(others.heard_s)]


# What is asked


def loads(folder: Path) -> tuple[Path, Path, Path]:
    """Write questions as `dnsperf -B` reads them: one name, 10,000, and none."""
    care = random.Random(SEED)  # noqa: S311
    names = [f"service{number}.veo." for number in range(SERVICES)]
    many = (
        _question(_any_case(care, names[number % SERVICES]), cookie=care.randbytes(8))
        for number in range(DISTINCT)
    )
    absent = (_question(f"{care.randbytes(8).hex()}.veo.") for _ in range(DISTINCT))
    return (
        _written(folder / "one", [_question(ONE)]),
        _written(folder / "many", many),
        _written(folder / "absent", absent),
    )


def _question(name: str, cookie: bytes = b"") -> bytes:
    kind = dns.edns.OptionType.COOKIE
    options: list[dns.edns.Option] = [dns.edns.GenericOption(kind, cookie)]
    return dns.message.make_query(
        name, "A", options=options if cookie else None
    ).to_wire()


def _any_case(care: random.Random, name: str) -> str:
    return "".join(care.choice((letter.upper(), letter)) for letter in name)


def _written(path: Path, questions: Iterable[bytes]) -> Path:
    path.write_bytes(b"".join(struct.pack(">H", len(q)) + q for q in questions))
    return path


# Who is asked


@contextlib.contextmanager
def knot(folder: Path) -> Iterator[Answerer]:
    """Have Knot answer the same names, with one worker."""
    home = folder / "knot"
    home.mkdir()
    port = dns_port([KNOT])
    (home / "veo.zone").write_text(
        "$ORIGIN veo.\n$TTL 5\n@ SOA ns admin 1 5 5 60 5\n@ NS ns\nns A 127.0.0.1\n"
        + "".join(f"service{n} A 127.0.1.{n % 99 + 1}\n" for n in range(SERVICES))
    )
    (home / "knot.conf").write_text(
        f"server:\n  rundir: {home}\n  listen: {KNOT}@{port}\n"
        "  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
        f"database:\n  storage: {home}\n"
        f"zone:\n  - domain: veo\n    storage: {home}\n    file: veo.zone\n"
    )
    argv = ("knotd", "-c", str(home / "knot.conf"))
    with _running("Knot", argv, KNOT, port) as it:
        yield it


@contextlib.contextmanager
def dnsmasq(folder: Path) -> Iterator[Answerer]:
    """Have dnsmasq answer the same names."""
    port = dns_port([DNSMASQ])
    hosts = folder / "hosts"
    lines = (f"127.0.1.{n % 99 + 1} service{n}.veo\n" for n in range(SERVICES))
    hosts.write_text("".join(lines))
    argv = (
        *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv"),
        *("--no-hosts", f"--addn-hosts={hosts}", "--local=/veo/", "--user=root"),
        *(f"--listen-address={DNSMASQ}", "--bind-interfaces", f"--port={port}"),
        *("--local-ttl=5", "--pid-file=", "--dns-forward-max=10000"),
    )
    with _running("dnsmasq", argv, DNSMASQ, port) as it:
        yield it


@contextlib.contextmanager
def _running(
    name: str, argv: tuple[str, ...], address: str, port: int
) -> Iterator[Answerer]:
    with subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _until_answered(address, port)
            yield Answerer(
                name=name,
                address=address,
                port=port,
                process=psutil.Process(process.pid),
            )
        finally:
            process.terminate()


def _until_answered(address: str, port: int) -> None:
    query, end_s = dns.message.make_query(ONE, "A"), time.monotonic() + UP_S
    while True:
        try:
            if dns.query.udp(query, address, timeout=0.2, port=port).answer:
                return
        except (OSError, dns.exception.Timeout):
            pass
        assert time.monotonic() < end_s, f"{address} does not answer"
