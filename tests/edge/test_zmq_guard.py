"""Which connections count as refused, by libzmq's events; and the line a minute."""

from __future__ import annotations

import errno
import logging

import pytest
import zmq

from veo_shell.edge.zmq_guard import Inbound, Keys, Outbound, Tally

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
HALF_OPEN: Events = [
    (E.ACCEPTED, 7),
    (E.HANDSHAKE_FAILED_NO_DETAIL, errno.EAGAIN),
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
        pytest.param(HALF_OPEN, 1, id="who says nothing until it is late"),
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
AUTH_THERE: Events = [
    (E.CONNECTED, 7),
    (E.HANDSHAKE_FAILED_AUTH, 400),
    (E.DISCONNECTED, 7),
]
MET: Events = [(E.CONNECTED, 7), (E.HANDSHAKE_SUCCEEDED, 0)]


OLD, NEW, OTHER = (Keys(name, "secret") for name in ("old", "new", "other"))


def after(events: Events, *accepted: Keys) -> Outbound:
    """Return what has seen these events; those after a hang-up are of the next try."""
    outbound = Outbound(accepted)
    for event in events:
        outbound.is_hang_up(*event)
    return outbound


@pytest.mark.parametrize(
    ("events", "is_refused", "is_certain"),
    [
        pytest.param(MET, False, False, id="a peer"),
        pytest.param(
            [*MET, (E.DISCONNECTED, 7)] * 3, False, False, id="a peer that comes back"
        ),
        pytest.param(HUNG_UP, True, False, id="a node that ended just then"),
        pytest.param(HUNG_UP * 2, True, True, id="another cookie"),
        pytest.param(AUTH_THERE * 2, True, True, id="another client key"),
        pytest.param(TIMED_OUT * 3, False, False, id="a frozen node"),
        pytest.param(HUNG_UP * 2 + MET, False, False, id="until it lets us in"),
        pytest.param(
            [(E.CLOSED, 7), (E.CONNECT_RETRIED, 9)] * 3, False, False, id="nobody there"
        ),
    ],
)
def test_what_counts_as_refused_there(
    events: Events, is_refused: bool, is_certain: bool
) -> None:
    outbound = after(events, OLD)
    assert outbound.is_refused is is_refused
    assert outbound.is_certain is is_certain


@pytest.mark.parametrize(
    ("events", "keys", "is_refused"),
    [
        pytest.param([], OLD, False, id="its own first"),
        pytest.param(HUNG_UP, NEW, False, id="then the accepted one"),
        pytest.param(HUNG_UP + MET, NEW, False, id="which is kept if it works"),
        pytest.param(
            [*HUNG_UP, *MET, (E.DISCONNECTED, 7)], NEW, False, id="and used again"
        ),
        pytest.param(HUNG_UP * 2, OLD, True, id="in turn"),
        pytest.param(HUNG_UP + TIMED_OUT, NEW, False, id="silence says nothing of it"),
    ],
)
def test_which_keys_are_presented_next(
    events: Events, keys: Keys, is_refused: bool
) -> None:
    outbound = after(events, OLD, NEW)
    assert outbound.keys == keys
    assert outbound.is_refused is is_refused


def test_every_pair_is_tried_before_a_pause_that_grows_to_a_second() -> None:
    outbound = Outbound((OLD, NEW, OTHER))
    pauses: list[float] = []
    for _ in range(5000):
        for event in HUNG_UP:
            outbound.is_hang_up(*event)
        pauses.append(outbound.pause_s)

    assert pauses[:9] == [0.0, 0.0, 0.1, 0.0, 0.0, 0.2, 0.0, 0.0, 0.5]
    assert set(pauses[9:]) == {0.0, 1.0}


def test_the_secret_is_in_no_repr() -> None:
    assert repr(OLD) == "Keys(public='old')"


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
