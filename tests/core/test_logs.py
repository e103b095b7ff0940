"""Lines of logs: from Docker's bytes, each once, and in order of time."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veo_shell.core.frames import STDERR, STDOUT, framed
from veo_shell.core.logs import (
    HELD_CHARACTERS,
    LINE_BYTES,
    STAMP_BYTES,
    LogLine,
    LogReader,
    Merge,
    Position,
)


def stamp(number: int) -> str:
    return f"2026-11-26T10:00:{number // 1000:02}.{number % 1000:03}000000Z"


def message(number: int, text: str, output: str = STDOUT) -> bytes:
    return framed(output, f"{stamp(number)} {text}".encode())


def line(number: int, text: str, stream: str = STDOUT, instance: str = "a") -> LogLine:
    return LogLine(at=stamp(number), instance=instance, stream=stream, text=text)


# Reading


def test_lines_have_their_time_and_stream() -> None:
    reader = LogReader("a")
    data = message(1, "one\n") + message(2, "two\n", STDERR) + message(3, "\n")
    assert reader.feed(data) == [line(1, "one"), line(2, "two", STDERR), line(3, "")]
    assert reader.end() == []


@given(st.lists(st.integers(0, 100)))
def test_however_they_come_the_lines_are_the_same(cuts: list[int]) -> None:
    data = message(1, "one\n") + message(2, "x") + message(2, "y\n") + message(3, "z")
    reader, found = LogReader("a"), []
    for cut in cuts:
        found += reader.feed(data[:cut])
        data = data[cut:]
    found += reader.feed(data) + reader.end()
    assert found == [line(1, "one"), line(2, "xy"), line(3, "z")]


def test_pieces_of_a_line_are_joined_for_each_stream() -> None:
    reader = LogReader("a")
    data = message(1, "o") + message(2, "e", STDERR)
    assert reader.feed(data) == []
    assert reader.feed(message(3, "ut\n")) == [line(1, "out")]
    assert reader.feed(message(4, "rr\n", STDERR)) == [line(2, "err", STDERR)]


def test_a_line_without_end_is_cut_into_pieces() -> None:
    reader, piece = LogReader("a"), "x" * 16384
    found = [e for n in range(40) for e in reader.feed(message(n, piece))]
    found += reader.end()
    assert "".join(one.text for one in found) == piece * 40
    assert max(len(one.text) for one in found) <= LINE_BYTES + len(piece)


def test_what_is_no_text_is_shown_as_such() -> None:
    data = framed(STDOUT, stamp(1).encode() + b" \xff\xfe\n")
    assert LogReader("a").feed(data) == [line(1, "\ufffd\ufffd")]


def test_what_has_no_time_is_taken_for_as_old_as_what_was_before() -> None:
    reader = LogReader("a")
    data = message(1, "one\n") + framed(STDERR, b"the engine's own words\n")
    assert reader.feed(data) == [
        line(1, "one"),
        line(1, "the engine's own words", STDERR),
    ]


def test_of_a_terminal_lines_are_parted_by_what_ends_them() -> None:
    reader = LogReader("a", is_tty=True)
    assert reader.feed(f"{stamp(1)} on".encode()) == []
    data = f"e\r\n{stamp(2)} two\r\n{stamp(3)} th".encode()
    assert reader.feed(data) == [line(1, "one"), line(2, "two")]
    assert reader.end() == [line(3, "th")]


def test_of_a_terminal_a_line_without_end_is_cut_too() -> None:
    reader = LogReader("a", is_tty=True)
    data = f"{stamp(1)} ".encode() + b"x" * (3 * LINE_BYTES)
    found = reader.feed(data)
    assert all(len(one.text) <= 2 * LINE_BYTES + STAMP_BYTES for one in found)
    found += reader.end()
    assert sum(one.text.count("x") for one in found) == 3 * LINE_BYTES


# Going on where another reader was


@given(st.lists(st.integers(0, 3), min_size=1), st.data())
def test_nothing_is_told_twice_and_nothing_left_out(
    times: list[int], data: st.DataObject
) -> None:
    told = [message(at, f"{n}\n") for n, at in enumerate(sorted(times))]
    had = data.draw(st.integers(0, len(told)))
    first = LogReader("a")
    lines = first.feed(b"".join(told[:had]))
    # Docker begins with what is as old as it was asked for.
    asked = first.position.at
    again = [m for m in told if m[8 : 8 + STAMP_BYTES].decode() >= asked]
    second = LogReader("a", after=first.position)
    lines += second.feed(b"".join(again))
    assert [one.text for one in lines] == [str(n) for n in range(len(told))]
    assert second.position.at == stamp(max(times))


def test_what_is_older_than_asked_for_is_left_out() -> None:
    reader = LogReader("a", after=Position(at=stamp(5), count=1))
    data = message(4, "old\n") + message(5, "had\n") + message(6, "new\n")
    assert reader.feed(data) == [line(6, "new")]


@pytest.mark.parametrize(
    ("position", "since"),
    [
        (Position(), ""),
        (Position(at="1970-01-01T00:00:01.000000002Z"), "1.000000002"),
        (Position(at="2026-11-26T10:00:00.123456789Z"), "1795687200.123456789"),
    ],
)
def test_a_position_is_told_as_docker_wants_it(position: Position, since: str) -> None:
    assert position.since == since


# Merging


def test_lines_come_out_in_order_of_time() -> None:
    merge = Merge()
    for name in ("a", "b"):
        merge.add(name)
    merge.put([line(1, "1"), line(4, "4")], 0)
    assert merge.take(1e9) == []
    merge.put([line(2, "2", instance="b"), line(3, "3", instance="b")], 0)
    assert [one.text for one in merge.take(0)] == ["1", "2", "3"]
    merge.end("b")
    assert [one.text for one in merge.take(0)] == ["4"]
    merge.end("a")
    assert merge.take(0) == []


def test_who_says_nothing_holds_up_nobody_for_long() -> None:
    merge = Merge(window_s=0.5)
    for name in ("a", "b"):
        merge.add(name)
    assert merge.due_in_s(0) == math.inf
    merge.put([line(2, "2")], 10.0)
    assert not merge.is_empty
    assert merge.take(10.4) == []
    assert merge.due_in_s(10.4) == pytest.approx(0.1)
    merge.put([line(1, "1", instance="b")], 10.4)
    assert [one.text for one in merge.take(10.4)] == ["1"]
    assert [one.text for one in merge.take(10.5)] == ["2"]
    assert merge.is_empty


def test_who_says_much_waits_for_nobody() -> None:
    merge = Merge(window_s=0.5)
    for name in ("a", "b", "c"):
        merge.add(name)
    merge.put([line(1, "first", instance="b")], 0)
    merge.put([line(n, "x" * 1000) for n in range(2, 1000)], 0)
    out = merge.take(0)
    assert [one.text for one in out[:1]] == ["first"]
    assert not merge.is_full("a")
    left = sum(len(one.text) for one in merge.take(1))
    assert HELD_CHARACTERS - 1000 <= left <= HELD_CHARACTERS


def test_of_two_lines_of_one_time_none_is_lost() -> None:
    merge = Merge()
    merge.add("a")
    merge.put([line(1, "x"), line(1, "y")], 0)
    assert [one.text for one in merge.take(0)] == ["x", "y"]


def test_what_an_instance_told_comes_out_after_its_end() -> None:
    merge = Merge()
    merge.add("a")
    merge.put([line(1, "1"), line(2, "2")], 0)
    merge.end("a")
    merge.add("a")
    assert [one.text for one in merge.take(0)] == ["1", "2"]
    merge.put([line(3, "3")], 0)
    assert [one.text for one in merge.take(0)] == ["3"]


def test_an_instance_is_full_until_its_lines_are_taken() -> None:
    merge = Merge()
    merge.add("a")
    merge.add("b")
    merge.put([line(1, "x" * (HELD_CHARACTERS + 1))], 0)
    assert (merge.is_full("a"), merge.is_full("b")) == (True, False)
    merge.end("b")
    assert len(merge.take(0)) == 1
    assert not merge.is_full("a")


@given(st.lists(st.lists(st.integers(0, 5)), max_size=4), st.randoms())
def test_the_merge_loses_nothing_and_sorts(told: list[list[int]], chance: Any) -> None:
    merge, left = Merge(), {str(n): sorted(times) for n, times in enumerate(told)}
    out: list[LogLine] = []
    for name in left:
        merge.add(name)
    while left:
        name = chance.choice(sorted(left))
        if left[name]:
            merge.put([line(left[name].pop(0), "x", instance=name)], 0)
        else:
            del left[name]
            merge.end(name)
        out += merge.take(0)
    times = [one.at for one in out]
    assert times == sorted(stamp(at) for each in told for at in each)
