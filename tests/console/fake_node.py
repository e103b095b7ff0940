"""A cluster of two real nodes with fake engines, and a console of the first.

The second has eight processors, the first four.

`python fake_node.py RUN_DIR` prints `ready` when it serves. The command `bad` ends at
once; what has a health check never gets healthy.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from tests.fake_cluster import fake_cluster
from veo_shell.edge.control import ControlServer
from veo_shell.edge.fake_engine import FakeEngine, Program
from veo_shell.own_settings import OwnSettings

PROGRAMS: dict[tuple[str, ...], Program] = {("bad",): Program(exits=3)}


async def main(run_dir: Path) -> None:
    engines = {
        name: FakeEngine("veo", f"{name}@{name}", programs=PROGRAMS)
        for name in ("uno", "dos")
    }
    cpus = {"uno": 4.0, "dos": 8.0}
    async with fake_cluster(run_dir / "data", engines=engines, cpus=cpus) as cluster:
        node = cluster["uno"]
        about = {"node": "uno@uno", "cluster": "veo"}
        server = ControlServer(
            run_dir / "control.sock",
            {**node.words, "settings": OwnSettings(run_dir / "cluster.yml")},
            about,
            node.abandon,
            node.sessions.attendance,
            node.sessions.begin,
        )
        await server.start()
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stop.wait()
        await server.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
