"""Print VEO's figures, each beside its aim and beside others' in the same run.

    make bench                           all subjects
    make bench ARGS="cable replicas"     some of them
    make bench ARGS="death --rounds 20"  with so many rounds instead of their own

Absolute figures drift with the machine: ratios are of pairs that were measured in turn.
"""

from __future__ import annotations

import argparse
import compileall
import os
import sys
from collections.abc import Callable
from pathlib import Path

import attrs

import veo_shell
from bench import (
    cable,
    console,
    crowd,
    daemon,
    death,
    dns,
    local,
    placement,
    planning,
    replicas,
    rolling,
    runaway,
    simulated,
    talk,
    zone,
)
from bench.report import say, title
from tests.rig.rig import lacking


@attrs.frozen(kw_only=True)
class Subject:
    """Something to measure; `hosts`: on three hosts of the rig, which needs root."""

    text: str
    bench: Callable[[int], None]
    rounds: int
    hosts: bool = False


SUBJECTS = {
    "local": Subject(
        text="one machine, two nodes, beside plain Docker",
        bench=local.bench,
        rounds=15,
    ),
    "console": Subject(
        text="a person at the console of a node with 1,000 containers",
        bench=console.bench,
        rounds=3,
    ),
    "runaway": Subject(
        text="a console that runs or prints for ever, and its node",
        bench=runaway.bench,
        rounds=10,
    ),
    "cable": Subject(
        text="a host's cable pulled, beside Docker Swarm",
        bench=cable.bench,
        rounds=5,
        hosts=True,
    ),
    "daemon": Subject(
        text="a node's daemon killed, and started again in 2 s",
        bench=daemon.bench,
        rounds=5,
        hosts=True,
    ),
    "death": Subject(
        text="a container dies: out of DNS, and known to all nodes",
        bench=death.bench,
        rounds=100,
        hosts=True,
    ),
    "replicas": Subject(
        text="30 instances over 3 hosts, beside `docker run` and Docker Swarm",
        bench=replicas.bench,
        rounds=10,
        hosts=True,
    ),
    "rolling": Subject(
        text="a rolling update of 9 instances over 3 hosts, beside Docker Swarm",
        bench=rolling.bench,
        rounds=5,
        hosts=True,
    ),
    "talk": Subject(
        text="logs of a container that says 205 MB, from another node",
        bench=talk.bench,
        rounds=3,
    ),
    "crowd": Subject(
        text="one node among 100, with 10,000 containers",
        bench=crowd.bench,
        rounds=5,
    ),
    "dns": Subject(
        text="DNS of a node among 100, 10,000 names, beside Knot and dnsmasq",
        bench=dns.bench,
        rounds=5,
    ),
    "zone": Subject(
        text="what a change costs DNS, 100 nodes, 10,000 containers",
        bench=zone.bench,
        rounds=3,
    ),
    "simulated": Subject(
        text="100 nodes, 10,000 containers in the simulation",
        bench=simulated.bench,
        rounds=5,
    ),
    "placement": Subject(
        text="placement decisions, 100 nodes, 10,000 containers",
        bench=placement.bench,
        rounds=5,
    ),
    "plan": Subject(
        text="`veo plan` of 1,000 services; 100 nodes, 10,000 containers",
        bench=planning.bench,
        rounds=5,
    ),
}


def main() -> int:
    """Measure and print what was asked for."""
    options = parser().parse_args()
    # What pip installs is compiled; so is this, wherever it is measured.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    compileall.compile_dir(Path(veo_shell.__file__).parent, quiet=1)
    reason = lacking()
    for name in options.subjects or SUBJECTS:
        subject = SUBJECTS[name]
        title(f"{name}: {subject.text}")
        if subject.hosts and reason:
            say(f"left out: {reason}")
        else:
            subject.bench(options.rounds or subject.rounds)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="make bench", allow_abbrev=False)
    told = f"of {', '.join(SUBJECTS)}; all by default"
    made.add_argument("subjects", nargs="*", type=known, metavar="SUBJECT", help=told)
    made.add_argument("--rounds", type=int, default=0)
    return made


def known(name: str) -> str:
    """Return the name of a subject; raise what the parser makes a complaint of."""
    if name not in SUBJECTS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SUBJECTS)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
