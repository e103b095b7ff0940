"""The interactive session: ptpython in the client's own process.

The node only ever sees calls of verbs. So Ctrl-C stops what was typed and nothing else,
and whatever a session computes cannot delay the node.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from veo_shell.console import failure, later, pace, render, script, session, words
from veo_shell.console.client import Client
from veo_shell.console.exits import interrupted
from veo_shell.errors import VeoError

if TYPE_CHECKING:
    from veo_shell.console.record import Record

DUMB = "TERM={}: no console there; what is typed is run as a script at Ctrl-D"


def main(run_dir: str | os.PathLike[str], how: script.How = script.USUAL) -> int:
    """Attach to the node of a run directory; return the exit status.

    Without a terminal on both sides, run what comes on stdin as a script.
    """
    is_seen = sys.stdin.isatty() and sys.stdout.isatty()
    if is_seen and render.is_dumb():
        sys.stderr.write(f"{DUMB.format(os.environ.get('TERM', ''))}\n")
    if not is_seen or render.is_dumb():
        return script.run_stdin(run_dir, how)
    pace.standard_streams()
    # A shell lets what it starts with & ignore it; a console without is a trap.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with script.recorded(how.record) as record:
        return _converse(run_dir, how, record)


def _converse(
    run_dir: str | os.PathLike[str], how: script.How, record: Record | None
) -> int:
    from veo_shell.console.glance import Glance

    client = Client(run_dir, session=how.session)
    client.is_sure = how.is_sure
    try:
        if how.node:
            session.move(client, how.node)
        about = client.read("veo.about")
        sys.stdout.write(banner(about))
        if client.session["read_only"]:
            sys.stdout.write("This session is read-only: it can change nothing.\n")
        if others := session.others(client):
            sys.stdout.write(f"{failure.printed(others)}\n")
        sys.stdout.flush()
        with contextlib.closing(Glance(client.another())) as glance:
            later.stand_in()
            from veo_shell.console.repl import interact  # ptpython, after the banner

            own = str(client.here("veo.about").get("node", "veo"))
            interact(client, own, glance, record)
        sys.stdout.write(f"detached from {client.at or own}; the node runs on\n")
    except VeoError as exc:
        return script.report(exc)
    except KeyboardInterrupt:  # before there was a prompt to catch it
        return interrupted()
    finally:
        client.close()
    return 0


def banner(about: dict[str, Any]) -> str:
    """Return what greets an operator."""
    lines = [
        f"VEO {about['version']}, node {about.get('node', '?')}, "
        f"cluster {about.get('cluster', '?')}",
        *words.banner_lines(),
        "Ctrl-D leaves, Ctrl-C cancels; the node runs on. help() tells more.",
    ]
    return "\n".join(lines) + "\n"
