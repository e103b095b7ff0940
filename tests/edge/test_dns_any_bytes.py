"""Any bytes, by packet, by connection and from other servers: nothing comes to harm."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.targets import heard, packet, seeds, stream, targets


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@st.composite
def damaged(draw: st.DrawFn, target: str) -> bytes:
    """Return what is in use with some bytes changed, cut, doubled or added."""
    data = bytearray(draw(st.sampled_from(seeds()[target])))
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    begin, end = sorted(draw(st.integers(0, len(data))) for _ in range(2))
    middle = bytes(data[begin:end]) * draw(st.integers(0, 3))
    return (
        bytes(data[:begin]) + middle + bytes(data[end:]) + draw(st.binary(max_size=9))
    )


@pytest.mark.parametrize("target", ["packet", "stream", "heard"])
def test_what_is_in_use_does_no_harm(
    loop: asyncio.AbstractEventLoop, target: str
) -> None:
    for seed in seeds()[target]:
        targets(loop)[target](seed)


@given(st.binary(max_size=100) | damaged("packet"))
def test_any_packet(data: bytes) -> None:
    packet(data)


@given(st.binary(max_size=100) | damaged("heard"))
def test_any_answer_of_another_server(data: bytes) -> None:
    heard(data)


@settings(max_examples=60)
@given(data=st.binary(max_size=300) | damaged("stream"))
def test_any_bytes_of_a_connection(
    loop: asyncio.AbstractEventLoop, data: bytes
) -> None:
    stream(data, loop)
