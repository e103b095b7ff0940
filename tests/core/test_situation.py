"""What a coordinator has to know: who it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.core.samples import WEB, service
from veo_shell.core.membership import Membership
from veo_shell.core.placement import coordinator
from veo_shell.core.situation import Situation
from veo_shell.core.timing import Timing
from veo_shell.core.view import View

ME, PEERS = "me@me", [f"n{number}@n" for number in range(5)]
UIDS = [f"u{number}" for number in range(8)]


@given(st.lists(st.sets(st.sampled_from(PEERS)), min_size=1, max_size=6))
def test_who_decides_follows_from_who_lives_whoever_lived_before(
    histories: list[set[str]],
) -> None:
    view, members = View(), Membership(ME, Timing(), 0.0)
    situation = Situation(ME, view, members)
    for uid in UIDS[::2]:  # of the others no record is known
        view.merge_record(service(uid, WEB))
    for living in histories:
        for peer in PEERS:
            if peer in living:
                members.heard(peer, "b1", 0.0)
            else:
                members.forget(peer)
        chosen = [situation.coordinator(uid) for uid in UIDS]
        assert chosen == [coordinator(uid, [ME, *living]) for uid in UIDS]
