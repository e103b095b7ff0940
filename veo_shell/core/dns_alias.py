"""Aliases that lead out of a zone, and what is found where they lead to."""

from __future__ import annotations

import struct
from typing import Self

import attrs
import dns.exception
import dns.message

from veo_shell.core import dns_packet
from veo_shell.core.dns_packet import Asked

MOST_HOPS = 8
"""From zone to zone; whoever needs more goes round in circles."""


class LeadsOut(bytes):
    """A packet with aliases alone; `target` is the name that the last one leads to.

    Who asks one server for all follows none of them himself.
    """

    target: bytes

    @classmethod
    def to(cls, target: bytes, packet: bytes) -> Self:
        """Return the packet as one that leads there."""
        made = cls(packet)
        made.target = target
        return made


def beyond(asked: Asked, alias: LeadsOut) -> Asked:
    """Return the question for what an alias leads to, which may be of any length."""
    question = alias.target + asked.question[-4:]
    return attrs.evolve(asked, name=alias.target, question=question, udp=False)


def joined(asked: Asked, alias: bytes, found: bytes) -> bytes:
    """Answer with an alias and what was found behind it, and with that one's code."""
    try:
        whole, end = dns.message.from_wire(alias), dns.message.from_wire(found)
        whole.answer += end.answer
        whole.authority = end.authority
        whole.use_edns(False)
        packet = whole.to_wire(max_size=dns_packet.TCP_SIZE)
    except (dns.exception.DNSException, ValueError):
        return alias
    return asked.response(
        flags=dns_packet.AUTHORITATIVE,
        code_flags=asked.checking_disabled,
        rcode=dns_packet.code_of(found),
        records=packet[dns_packet.HEADER_SIZE + len(asked.question) :],
        counts=struct.unpack_from(">3H", packet, 6),
    )
