"""Which connections count as refused, by libzmq's events; and the line a minute."""

from __future__ import annotations

import errno
import logging

import pytest
import zmq

from veo_shell.edge.zmq_guard import Inbound, Outbound, Tally

E = zmq.Event
Events = list[tuple[zmq.Event, int]]

SEEN: Events = [(E.ACCEPTED, 7), (E.HANDSHAKE_SUCCEEDED, 0)]
PROTOCOL: Events = [
    (E.ACCEPTED, 7),
    (E.HANDSHAKE_FAILED_PROTOCOL, 1),
    (E.DISCONNECTED, 7),
]
AUTH: Events = [
    (E.ACCEPTED, 7),
    (E.HANDSHAKE_FAILED_AUTH, 400),
    (E.DISCONNECTED, 7),
]
GARBAGE: Events = [(E.ACCEPTED, 7), (E.DISCONNECTED, 7)]
PROBE: Events = [
    (E.ACCEPTED, 7),
    (E.HANDSHAKE_FAILED_NO_DETAIL, errno.EPIPE),
    (E.DISCONNECTED, 7),
]


@pytest.mark.parametrize(
    ("events", "refusals"),
    [
        pytest.param(SEEN, 0, id="a peer"),
        pytest.param([*SEEN, (E.DISCONNECTED, 7)], 0, id="a peer that left"),
        pytest.param(PROTOCOL, 1, id="another cookie"),
        pytest.param(AUTH, 1, id="another client key"),
        pytest.param(GARBAGE, 1, id="not ZMTP"),
        pytest.param(PROBE, 0, id="a port probe"),
        pytest.param(PROBE + GARBAGE, 1, id="a probe excuses itself alone"),
        pytest.param(GARBAGE * 3, 3, id="one descriptor again and again"),
        pytest.param(
            [(E.ACCEPTED, 5), *SEEN, (E.DISCONNECTED, 7), (E.DISCONNECTED, 5)],
            1,
            id="a peer while garbage waits",
        ),
    ],
)
def test_what_counts_as_refused_here(events: Events, refusals: int) -> None:
    inbound = Inbound()
    assert sum(inbound.is_refusal(*event) for event in events) == refusals


HUNG_UP: Events = [
    (E.CONNECTED, 7),
    (E.HANDSHAKE_FAILED_NO_DETAIL, errno.EPIPE),
    (E.DISCONNECTED, 7),
]
TIMED_OUT: Events = [
    (E.CONNECTED, 7),
    (E.HANDSHAKE_FAILED_NO_DETAIL, errno.EAGAIN),
    (E.DISCONNECTED, 7),
]
MET: Events = [(E.CONNECTED, 7), (E.HANDSHAKE_SUCCEEDED, 0)]


@pytest.mark.parametrize(
    ("events", "refusals"),
    [
        pytest.param(MET, 0, id="a peer"),
        pytest.param([*MET, (E.DISCONNECTED, 7)] * 3, 0, id="a peer that comes back"),
        pytest.param(HUNG_UP, 0, id="a node that ended just then"),
        pytest.param(HUNG_UP * 3, 2, id="another cookie"),
        pytest.param(TIMED_OUT * 3, 0, id="a frozen node"),
        pytest.param(HUNG_UP + MET + HUNG_UP, 0, id="not in succession"),
        pytest.param([(E.CLOSED, 7), (E.CONNECT_RETRIED, 9)] * 3, 0, id="nobody there"),
    ],
)
def test_what_counts_as_refused_there(events: Events, refusals: int) -> None:
    outbound = Outbound()
    assert sum(outbound.is_refusal(*event) for event in events) == refusals


def test_a_tally_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = [0.0]
    tally = Tally("refused", now=lambda: clock[0])
    with caplog.at_level(logging.WARNING):
        for clock[0] in (0.0, 1.0, 59.9, 60.0, 61.0, 119.0, 500.0):
            tally.add("uno")

    assert tally.count == 7
    assert caplog.messages == [
        "uno: refused (1 times)",
        "uno: refused (3 times)",
        "uno: refused (3 times)",
    ]
