"""The journal's entries in order, each below the one that it follows from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from veo_shell.core.model import JournalEntry

Entries = list[JournalEntry]


def once(*told: Entries) -> Entries:
    """Return the entries of several, each once."""
    return list({entry.id: entry for entries in told for entry in entries}.values())


def in_order(entries: Iterable[JournalEntry]) -> Entries:
    """Return entries as they were written, by the clocks of those who did."""
    return sorted(entries, key=moment)


def moment(entry: JournalEntry) -> tuple[float, str, int]:
    """Return what entries are ordered by."""
    origin, _, number = entry.id.rpartition("/")
    return entry.at_s, origin, int(number) if number.isdigit() else 0


def first_cause(id_: str, chain: Mapping[str, JournalEntry]) -> str:
    """Return the id where the causes of an entry are not known any further, or ""."""
    for _ in chain:  # those of others may go in a circle
        id_ = chain[id_].cause if id_ in chain else id_
    return id_


def in_chains(entries: Iterable[JournalEntry]) -> Entries:
    """Order entries so that each stands below its cause, whatever the clocks say.

    Of chains that have nothing in common, what ended last comes last.
    """
    ordered = in_order(entries)
    known = {entry.id for entry in ordered}
    followers = defaultdict(list)
    for entry in ordered:
        followers[entry.cause if entry.cause in known else ""].append(entry)
    chains = [_chain(first, followers) for first in followers[""]]
    chains.sort(key=lambda chain: max(map(moment, chain)))
    return [entry for chain in chains for entry in chain]


def _chain(first: JournalEntry, followers: dict[str, Entries]) -> Entries:
    chain, left = [], [first]
    while left:
        chain.append(entry := left.pop())
        left += reversed(followers.get(entry.id, ()))
    return chain
