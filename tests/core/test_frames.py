"""Docker's framing: which bytes came from which output."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veo_shell.core.frames import MOST_BYTES, STDERR, STDOUT, Frames, framed
from veo_shell.errors import EngineError

outputs = st.sampled_from([STDOUT, STDERR])


@given(
    st.lists(st.tuples(outputs, st.binary(max_size=40))),
    st.lists(st.integers(0, 60)),
)
def test_however_it_was_cut_the_pieces_are_the_same(
    pieces: list[tuple[str, bytes]], cuts: list[int]
) -> None:
    whole = b"".join(framed(*piece) for piece in pieces)
    frames, found = Frames(is_tty=False), []
    for cut in cuts:
        found += frames.feed(whole[:cut])
        whole = whole[cut:]
    assert found + frames.feed(whole) == pieces


@given(st.binary())
def test_any_bytes_are_pieces_or_refused(data: bytes) -> None:
    try:
        pieces = Frames(is_tty=False).feed(data)
    except EngineError:
        return
    assert sum(len(piece) for _, piece in pieces) <= len(data)


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.0", b"\1\0\0\0" + (MOST_BYTES + 1).to_bytes(4, "big")],
    ids=["no output", "too large"],
)
def test_what_is_no_frame_is_refused(head: bytes) -> None:
    with pytest.raises(EngineError, match="not Docker's framing"):
        Frames(is_tty=False).feed(head)


def test_stdin_that_is_echoed_and_words_of_the_engine_are_told_too() -> None:
    found = Frames(is_tty=False).feed(b"\0\0\0\0\0\0\0\1i\3\0\0\0\0\0\0\1e")
    assert found == [(STDOUT, b"i"), (STDERR, b"e")]


def test_a_terminal_has_one_output_and_no_frames() -> None:
    frames = Frames(is_tty=True)
    assert frames.feed(b"\1\0\0\0") == [(STDOUT, b"\1\0\0\0")]
    assert frames.feed(b"") == []
