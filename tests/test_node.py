"""`Node`: events in, commands out, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fake_cluster import WEB, FakeCluster, eventually, fake_cluster
from veo_shell.console import files
from veo_shell.console.words import SHORTCUTS, WORDS
from veo_shell.core import events as ev
from veo_shell.core.commands import Publish, Save
from veo_shell.core.model import NodeRecord
from veo_shell.core.verbs import pack, verbs_of
from veo_shell.core.wire import Forget
from veo_shell.errors import (
    NoSuitableNode,
    PeerUnreachable,
    ServiceError,
    StartError,
    VeoError,
    VerbFailed,
)
from veo_shell.node import Node

SECRET = "hunter2"  # noqa: S105


async def test_what_happens_on_one_node_is_seen_on_the_other(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path) as cluster:
        container = await cluster.run(WEB)
        other = cluster["dos" if container.node == "uno@uno" else "uno"]
        cluster.engines[container.node[:3]].exit(container.id, 1)
        await eventually(lambda: not other.machine.answerable())
        await cluster.ready(1)


async def test_a_fault_in_the_core_is_logged_and_the_node_goes_on(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno = cluster["uno"]
        uno.feed("no event")  # type: ignore[arg-type]
        (error,) = cluster.errors
        assert "uno@uno: cannot handle str" in error
        assert "KeyError" in error
        cluster.errors.clear()
        await uno.container_sup.add_service(WEB)
        assert len(uno.machine.answerable()) == 1


async def test_what_the_core_cannot_handle_is_answered_and_keeps_its_secrets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno = cluster["uno"]
        handlers: dict[type, Any] = uno.machine._handlers
        handler = handlers.pop(ev.AddAsked)
        service = attrs.evolve(WEB, environment=(f"PASSWORD={SECRET}",))
        with pytest.raises(VerbFailed, match="uno@uno could not handle it; see its"):
            await uno.container_sup.add_service(service)
        assert "cannot handle AddAsked" in cluster.errors[0]
        cluster.errors.clear()
        handlers[ev.AddAsked] = handler
        await uno.container_sup.add_service(service)
        assert SECRET not in caplog.text


async def test_an_order_that_cannot_be_performed_does_not_undo_the_others(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno = cluster["uno"]
        record = NodeRecord(node="n", revision=9, writer="uno@uno", role="r")

        def fail(order: Publish) -> None:
            raise RuntimeError("a bug")

        performers, publish = uno._performers, uno._performers[Publish]
        performers[Publish] = fail
        beat = Forget(node="uno@uno", boot_id="b", uids=())
        uno._perform([Publish(message=beat), Save(records=(record,))])
        performers[Publish] = publish
        (error,) = cluster.errors
        assert "uno@uno: cannot perform Publish" in error
        assert "RuntimeError: a bug" in error
        cluster.errors.clear()
        await uno.container_storage.flushed()
        assert (await cluster.saved("uno"))["node/n"] == record


async def test_a_task_that_ends_with_an_error_is_logged(tmp_path: Path) -> None:
    async def work() -> None:
        raise RuntimeError("a bug")

    async with fake_cluster(tmp_path, "uno") as cluster:
        cluster["uno"].spawn(work(), "some work")
        await eventually(lambda: cluster.errors)
        (error,) = cluster.errors
        assert "some work ended" in error
        assert "RuntimeError: a bug" in error
        cluster.errors.clear()


# Waiting for something to be seen


async def test_until_returns_what_is_seen(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno = cluster["uno"]
        assert await uno.until(lambda: "at once") == "at once"
        seen: list[str] = []
        waiting = [
            asyncio.get_running_loop().create_task(
                uno.until(lambda: seen[0] if seen else None)
            )
            for _ in range(2)
        ]
        await asyncio.sleep(0)
        waiting[1].cancel()  # the operator gave up
        seen.append("later")
        uno.feed(ev.Ticked())
        assert await waiting[0] == "later"
        with pytest.raises(asyncio.CancelledError):
            await waiting[1]
        assert uno._waiting == []


async def test_one_that_gave_up_in_the_same_step_does_not_disturb(
    tmp_path: Path,
) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno = cluster["uno"]
        seen: list[str] = []
        waiting = asyncio.get_running_loop().create_task(
            uno.until(lambda: seen[0] if seen else None)
        )
        await asyncio.sleep(0)
        waiting.cancel()
        seen.append("seen")
        uno.feed(ev.Ticked())
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_who_works_for_nobody_does_not_wait(tmp_path: Path) -> None:
    """Neither in a wait that it is in, nor in the next one; what it does it ends."""
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno, going, done = cluster["uno"], asyncio.Event(), []

        async def work() -> None:
            await going.wait()
            done.append(await uno.until(lambda: "seen at once"))
            await uno.until(lambda: None)

        async def wait() -> None:
            await uno.until(lambda: None)

        loop = asyncio.get_running_loop()
        waits, works, lives = (loop.create_task(w()) for w in (wait, work, wait))
        await asyncio.sleep(0)
        uno.abandon(waits)
        uno.abandon(works)
        going.set()
        await asyncio.wait({waits, works})
        assert (waits.cancelled(), works.cancelled()) == (True, True)
        assert done == ["seen at once"]
        assert not lives.done()
        lives.cancel()


async def test_until_raises_what_the_look_raises(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        uno = cluster["uno"]
        looks: list[VeoError | None] = [None, VeoError("it will never happen")]

        def look() -> bool | None:
            if error := looks.pop(0):
                raise error
            return None

        waiting = asyncio.get_running_loop().create_task(uno.until(look))
        await asyncio.sleep(0)
        uno.feed(ev.Ticked())
        with pytest.raises(VeoError, match="it will never happen"):
            await waiting


# Beginning and end


async def test_a_port_of_the_mesh_in_use_is_told(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        other = FakeCluster(tmp_path / "other", cluster.timing)
        other.network = cluster.network
        other.add("tres")
        other.addresses["tres"] = "127.0.0.1"
        with pytest.raises(StartError, match=r"127\.0\.0\.1:8087: already in use"):
            await other.make("tres").start()
        await other.close()


async def test_the_first_reason_to_fail_is_kept(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        cluster["uno"].fail(StartError("first"))
        cluster["uno"].fail(StartError("second"))
        with pytest.raises(StartError, match="first"):
            await cluster["uno"].failed


async def test_nothing_happens_after_the_end(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path) as cluster:
        uno = cluster["uno"]
        container = await uno.container_sup.add_service(
            attrs.evolve(WEB, hosts=("uno@uno",))
        )
        cluster.engines["uno"].exit(container.id, 1)  # a restart is due in 0.1 s
        await eventually(lambda: not uno.machine.answerable())
        await cluster.stop("uno")
        before = uno.machine.view.digest
        uno.feed(ev.Ticked())
        uno.feed(ev.TimerDue(name=container.name))
        assert uno.machine.view.digest == before
        assert uno._tasks == set()
        role = ev.RoleAssigned(operation="o", node="uno@uno", role="edge")
        with pytest.raises(VerbFailed, match="uno@uno could not handle it"):
            await uno.ask(role, "o")


async def test_peers_of_a_node_that_stops_are_not_disturbed(tmp_path: Path) -> None:
    """Also while it is being asked: none of the requests is answered by an error."""
    async with fake_cluster(tmp_path) as cluster:
        await asyncio.gather(cluster.stop("uno"), cluster.stop("dos"))
        assert cluster.errors == []


async def test_refusals_of_the_core_are_raised(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        with pytest.raises(NoSuitableNode):
            await cluster["uno"].container_sup.add_service(
                attrs.evolve(WEB, hosts=("nowhere@x",))
            )


# The examples of the docstrings

TYPED = {*WORDS, *SHORTCUTS.values()} - {"settings"}
"""What the console asks of a node by name. It reads files itself, as for `settings`."""
HIDDEN = {"here", "latest", "named", "names", "of_kind", "sought"}
"""What nodes and consoles ask of journals and sessions: no operator's verbs."""


def examples(node: Node) -> list[str]:
    """Return the line that each verb's docstring shows; the last ends the node."""
    lines = []
    for name, word in node.words.items():
        for verb, method in verbs_of(type(word)).items():
            if name not in TYPED or verb in HIDDEN or f"{name}.{verb}" in files.VERBS:
                continue
            found = re.findall(r"^ *>>> (.*)$", method.__doc__ or "", re.MULTILINE)
            assert len(found) == 1, f"{name}.{verb} shows {len(found)} examples"
            assert f"{verb}(" in found[0]
            lines += found
    return sorted(lines, key=lambda line: "leave()" in line)


async def got(value: Any) -> Any:
    """Return what a console would have of a verb, which waits for each."""
    return await value if inspect.isawaitable(value) else value


async def test_every_verbs_example_can_be_typed(tmp_path: Path) -> None:
    """What it names may not be there; but it is called as it should be."""
    async with fake_cluster(tmp_path, "uno", "dos", "tres") as cluster:
        uno = cluster["uno"]
        nginx = attrs.evolve(WEB, name="nginx")
        names = {
            **uno.words,
            "t": nginx,
            "why": uno.journal.why,
            "history": uno.journal.history,
            "who": uno.sessions.who,
            "print": got,
        }
        await uno.container_sup.add_service(nginx)
        for line in examples(uno):
            if not uno.container_sup.services():
                await uno.container_sup.add_service(nginx)
            with contextlib.suppress(ServiceError, PeerUnreachable):
                value = eval(line, {**names})  # noqa: S307 (our own docstrings)
                pack(await got(value))
        await uno.failed  # the last one was leave()
