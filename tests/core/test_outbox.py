"""The outbox: what one event makes a core hand out."""

from __future__ import annotations

import attrs

from tests.core.samples import DOS, UNO, container, service
from veo_shell.core.commands import After, Note
from veo_shell.core.model import JournalEntry
from veo_shell.core.outbox import TEXT_MOST_BYTES, Outbox


def outbox() -> Outbox:
    return Outbox(node=UNO, boot="b00t")


def test_commands_keep_their_order() -> None:
    out = outbox()
    one, two = After(name="a", delay_s=1.0), After(name="b", delay_s=1.0)
    out.order(one, two)
    out.order(one)
    assert out.commands == [one, two, one]


def test_a_text_is_cut_so_that_a_page_of_entries_fits_a_frame() -> None:
    out = outbox()
    out.note("engine_lost", "x" * TEXT_MOST_BYTES)
    out.note("engine_lost", "\N{WHALE}" * (1 << 18))
    out.note("engine_lost", "\ud800" * (1 << 18))
    whole, cut, unfit = (c.entry.text for c in out.commands if isinstance(c, Note))
    assert whole == "x" * TEXT_MOST_BYTES
    assert cut == "\N{WHALE}" * (TEXT_MOST_BYTES // 4) + "…"
    assert unfit == ("\\ud800" * TEXT_MOST_BYTES)[:TEXT_MOST_BYTES] + "…"


def test_entries_are_numbered_and_may_name_each_other_as_a_cause() -> None:
    out = outbox()
    first = out.note("placed", "web: slot 0 placed", service="web", uid="u1", slot=0)
    second = out.note("node_dead", "dos: dead", about=DOS, cause=first)
    assert (first, second) == (f"{UNO}/b00t/1", f"{UNO}/b00t/2")
    assert out.commands == [
        Note(
            entry=JournalEntry(
                id=first,
                node=UNO,
                kind="placed",
                text="web: slot 0 placed",
                service="web",
                uid="u1",
                slot=0,
            )
        ),
        Note(
            entry=JournalEntry(
                id=second,
                node=UNO,
                kind="node_dead",
                text="dos: dead",
                about=DOS,
                cause=first,
            )
        ),
    ]


def test_without_a_cause_an_entry_follows_from_what_the_event_was_about() -> None:
    out = outbox()
    out.cause = "x/y/1"
    out.note("role", "a")
    out.note("role", "b", cause="")
    out.clear()
    out.note("role", "c")
    (after,) = [c.entry for c in out.commands if isinstance(c, Note)]
    assert (after.id, after.cause) == (f"{UNO}/b00t/3", "")


def test_only_own_writes_and_containers_are_news_to_publish() -> None:
    learning, writing, showing, losing = (outbox() for _ in range(4))
    learning.learn(service())
    learning.documents.add(DOS)
    writing.write(service())
    showing.show(container())
    losing.forget("x")
    boxes = (learning, writing, showing, losing)
    assert [out.is_own_news for out in boxes] == [False, True, True, True]
    for out in boxes:
        out.clear()
        assert not out.is_own_news
        assert (out.learned, out.documents) == ({}, set())


def test_what_is_shown_last_of_a_container_is_told() -> None:
    out, running = outbox(), container()
    ended = attrs.evolve(running, exit_code=1)
    out.show(running)
    out.show(ended)
    assert (out.changed, out.gone) == ({running.name: ended}, set())
    out.forget(running.name)
    assert (out.changed, out.gone) == ({}, {running.name})
    out.show(running)
    assert (out.changed, out.gone) == ({running.name: running}, set())


def test_what_was_handed_out_is_not_changed_by_what_comes_after() -> None:
    out = outbox()
    out.write(service())
    records, commands = out.records, out.commands
    out.clear()
    out.order(After(name="a", delay_s=1.0))
    out.write(service("u2"))
    assert (list(records), commands) == (["service/u1"], [])
