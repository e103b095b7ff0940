"""DNS in wire form: queries read, responses put together. Nothing of what they mean.

Names are wire form and lower-case throughout; only the question's own bytes keep the
case in which they were asked, and responses point to them for it (0x20).
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterable, Iterator

import attrs

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT = 1, 2, 5, 6, 12, 16, 28, 33, 41
ANY = 255
IXFR, AXFR = 251, 252
TRANSFERS = range(251, 255)  # IXFR, AXFR, MAILB, MAILA
META = frozenset({OPT, *range(128, 251)})  # never the type of a record
IN = 1

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
NOTAUTH, BADVERS = 9, 16
RESPONSE, AUTHORITATIVE, TRUNCATED, RECURSION_DESIRED = 0x80, 0x04, 0x02, 0x01
OPCODE = 0x78
CODE = 0x0F
RECURSION_AVAILABLE, CHECKING_DISABLED = 0x80, 0x10  # in the byte of the code

HEADER_SIZE = 12
PLAIN_UDP_SIZE = 512  # RFC 1035: what every asker takes
UDP_SIZE = 1232  # passes every path unfragmented: the resolvers' flag day of 2020
TCP_SIZE = 65_535

OWNER_IS_QUESTION = b"\xc0\x0c"
_ONE_QUESTION = b"\0\1\0\0\0\0\0\0"
_ONE_QUESTION_AND_OPT = b"\0\1\0\0\0\0\0\1"
_OPT_SIZE = 11
_RECORD_SIZE = 12  # without its data, and its owner the question's
_WITH_OPT = 2  # beside RD and RA, which are other bits
MOST_ORDERS = 64
EXTENDED_ERROR, STALE, NO_REACHABLE_AUTHORITY = 15, 3, 22
LONGEST_TEXT = 200
LONGEST_STRING = 255  # RFC 1035, section 3.3: one byte for its length
_DENIALS = {
    (rd | ra, rcode, opt): struct.pack(
        ">BBHHHH", RESPONSE | AUTHORITATIVE | rd, ra | rcode, 1, 0, 1, opt
    )
    for rd in (0, 1)
    for ra in (0, RECURSION_AVAILABLE)
    for rcode in (NOERROR, NXDOMAIN)
    for opt in (0, 1)
}
OPTS = tuple(struct.pack(">BHHIH", 0, OPT, UDP_SIZE, do << 15, 0) for do in (0, 1))


class Malformed(Exception):
    """The packet is no query that can be answered."""


@attrs.frozen(kw_only=True)
class Edns:
    """What an asker's OPT record says (RFC 6891)."""

    size: int
    version: int
    dnssec_ok: bool


@attrs.frozen(kw_only=True)
class Asked:
    """A well-formed query. `name` is lower-case, `question` as it was asked.

    `code_flags` are those of the response that share a byte with its code.
    """

    id: int
    recursion_desired: int
    question: bytes
    name: bytes
    rdtype: int
    rdclass: int
    edns: Edns | None
    udp: bool
    checking_disabled: int = 0
    code_flags: int = 0
    option: bytes = b""
    """Goes into the OPT record of a response, if it has one."""

    @property
    def room(self) -> int:
        """Return how many bytes of records the asker takes."""
        limit = PLAIN_UDP_SIZE if self.udp else TCP_SIZE
        if self.edns and self.udp:
            limit = min(max(self.edns.size, PLAIN_UDP_SIZE), UDP_SIZE)
        opt_size = _OPT_SIZE + len(self.option) if self.edns else 0
        return limit - HEADER_SIZE - len(self.question) - opt_size

    def response(
        self,
        *,
        flags: int = 0,
        code_flags: int = 0,
        rcode: int = NOERROR,
        records: bytes = b"",
        counts: tuple[int, int, int] = (0, 0, 0),
    ) -> bytes:
        """Put a response together; records that do not fit are left out, with TC.

        `code_flags`: more of them.
        """
        if len(records) > self.room:
            flags |= TRUNCATED
            return self.response(flags=flags, code_flags=code_flags, rcode=rcode)
        answers, authority, additional = counts
        opt = b""
        if self.edns:
            additional += 1
            flags_opt = (rcode >> 4) << 24 | self.edns.dnssec_ok << 15
            size = len(self.option)
            opt = struct.pack(">BHHIH", 0, OPT, UDP_SIZE, flags_opt, size) + self.option
        head = struct.pack(
            ">HBBHHHH",
            self.id,
            RESPONSE | flags | self.recursion_desired,
            self.code_flags | code_flags | rcode & 0xF,
            1,
            answers,
            authority,
            additional,
        )
        return head + self.question + records + opt


@attrs.frozen(kw_only=True, eq=False)
class Answer:
    """One question's answer, ready to be sent with an asker's id, flags and case.

    `records` are in the wire form of one record each. Those that are the asked node's,
    so many `own` ones from the first on, lead; both parts take turns at being first.
    `additional`: whole RRsets with their number of records, left out from the end
    where they do not fit. `heads`: the bytes after the id, by RD, RA and
    whether there is an OPT.
    """

    question_size: int
    records: tuple[bytes, ...]
    own: int = 0
    additional: tuple[tuple[bytes, int], ...] = ()
    heads: dict[int, bytes] = attrs.field(init=False, repr=False)
    _orders: Iterator[bytes] = attrs.field(init=False, repr=False)

    @heads.default
    def _make_heads(self) -> dict[int, bytes]:
        size = HEADER_SIZE + self.question_size + _OPT_SIZE
        size += sum(map(len, self.records)) + sum(len(r) for r, _ in self.additional)
        if size > PLAIN_UDP_SIZE:
            return {}
        count, additional = len(self.records), sum(n for _, n in self.additional)
        flags = RESPONSE | AUTHORITATIVE
        return {
            rd | ra | opt * _WITH_OPT: struct.pack(
                ">BBHHHH", flags | rd, ra, 1, count, 0, additional + opt
            )
            for opt in (0, 1)
            for ra in (0, RECURSION_AVAILABLE)
            for rd in (0, 1)
        }

    @_orders.default
    def _make_orders(self) -> Iterator[bytes]:
        """Return without end the records in the order that is due.

        What is quick to answer is joined once.
        """
        own, others = self.records[: self.own], self.records[self.own :]
        sizes = max(len(own), 1), max(len(others), 1)
        turns = math.lcm(*sizes)
        if turns > MOST_ORDERS:
            turns = max(sizes)
        if not self.heads:
            return (
                b"".join((*_turned(own, n), *_turned(others, n)))
                for n in itertools.cycle(range(turns))
            )
        rest = [records for records, _ in self.additional]
        return itertools.cycle(
            b"".join((*_turned(own, n), *_turned(others, n), *rest))
            for n in range(turns)
        )

    def quick_response(self, query: bytes, end: int, code_flags: int) -> bytes | None:
        """Answer a query whose question ends at `end`; None if it needs a closer look.

        That is: any header but the usual one, unusual EDNS, or an answer that is not
        sure to fit everywhere.
        """
        flags = query[2]
        if flags > RECURSION_DESIRED or not self.heads:
            return None
        if len(query) == end and query[4:12] == _ONE_QUESTION:
            head = self.heads[flags | code_flags]
            return query[:2] + head + query[12:end] + next(self._orders)
        if not _ends_with_usual_opt(query, end):
            return None
        head = self.heads[flags | code_flags | _WITH_OPT]
        opt = OPTS[query[end + 7] >> 7]
        return query[:2] + head + query[12:end] + next(self._orders) + opt

    def in_turn(self, owner: bytes) -> tuple[bytes, ...]:
        """Return the records in the order that is due, as those of another name."""
        order, at, found = next(self._orders), 0, list[bytes]()
        for _ in self.records:
            end = at + _RECORD_SIZE + int.from_bytes(order[at + 10 : at + 12])
            found.append(owner + order[at + len(OWNER_IS_QUESTION) : end])
            at = end
        return tuple(found)

    def response(self, asked: Asked) -> bytes:
        """Answer with what fits of the additional records."""
        records, additional = next(self._orders), 0
        if self.heads:
            counts = len(self.records), 0, sum(n for _, n in self.additional)
            return asked.response(flags=AUTHORITATIVE, records=records, counts=counts)
        for rrset, count in self.additional:
            if len(records) + len(rrset) > asked.room:
                break
            records += rrset
            additional += count
        counts = (len(self.records), 0, additional)
        return asked.response(flags=AUTHORITATIVE, records=records, counts=counts)


def quick_denial(
    query: bytes, end: int, rcode: int, soa: bytes, code_flags: int
) -> bytes | None:
    """Answer no to a query whose question ends at `end`; None as `quick_response`."""
    flags = query[2]
    if flags > RECURSION_DESIRED:
        return None
    if len(query) == end and query[4:12] == _ONE_QUESTION:
        return query[:2] + _DENIALS[flags | code_flags, rcode, 0] + query[12:end] + soa
    if not _ends_with_usual_opt(query, end):
        return None
    opt = OPTS[query[end + 7] >> 7]
    head = _DENIALS[flags | code_flags, rcode, 1]
    return query[:2] + head + query[12:end] + soa + opt


def _turned(records: tuple[bytes, ...], by: int) -> tuple[bytes, ...]:
    at = by % len(records) if records else 0
    return records[at:] + records[:at]


def extended_error(code: int, text: str) -> bytes:
    """Return the option of an Extended DNS Error (RFC 8914)."""
    said = text.encode()[:LONGEST_TEXT]
    return struct.pack(">HHH", EXTENDED_ERROR, 2 + len(said), code) + said


def failure(query: bytes, rcode: int, code_flags: int = 0) -> bytes:
    """Return the bare header that answers a query which cannot be understood."""
    flags = RESPONSE | query[2] & (OPCODE | RECURSION_DESIRED)
    return query[:2] + bytes((flags, code_flags | rcode)) + bytes(8)


def servfail(query: bytes, code_flags: int = 0) -> bytes:
    """Return what has an asker try the next server.

    With the question: Go's resolver passes over an answer without it, and waits.
    """
    try:
        asked = parse_query(query, udp=True, code_flags=code_flags)
    except Malformed:
        return failure(query, SERVFAIL, code_flags)
    return asked.response(rcode=SERVFAIL)


def code_of(answer: bytes) -> int:
    """Return a packet's response code, the part of it that all have."""
    return answer[3] & CODE


def is_denial(answer: bytes) -> bool:
    """Tell whether a packet says that there is no such name."""
    return answer[3] & CODE == NXDOMAIN


def is_refusal(answer: bytes) -> bool:
    """Tell whether a packet says that its question is not answered here."""
    return answer[3] & CODE == REFUSED


def is_query(packet: bytes) -> bool:
    """Tell whether anything at all may be answered (an answer never is)."""
    return len(packet) >= HEADER_SIZE and not packet[2] & RESPONSE


def parse_query(query: bytes, *, udp: bool, code_flags: int = 0) -> Asked:
    """Read a query's question and EDNS; raise `Malformed`."""
    try:
        return _parse_query(query, udp, code_flags)
    except (IndexError, struct.error) as exc:
        raise Malformed from exc


def _parse_query(query: bytes, udp: bool, code_flags: int) -> Asked:
    number, flags, low, questions, *others = struct.unpack_from(">HBBHHHH", query)
    if questions != 1:
        raise Malformed
    end = name_end(query, HEADER_SIZE, compressed=False)
    rdtype, rdclass = struct.unpack_from(">HH", query, end)
    return Asked(
        id=number,
        recursion_desired=flags & RECURSION_DESIRED,
        question=query[HEADER_SIZE : end + 4],
        name=query[HEADER_SIZE:end].lower(),
        rdtype=rdtype,
        rdclass=rdclass,
        edns=_find_edns(query, end + 4, *others),
        udp=udp,
        checking_disabled=low & CHECKING_DISABLED,
        code_flags=code_flags,
    )


def record(packet: bytes, at: int) -> tuple[int, int, int]:
    """Return the type of the record there, where its TTL is, and where it ends.

    Raises `Malformed`, IndexError or struct.error.
    """
    at = name_end(packet, at, compressed=True)
    rdtype, _, _, size = struct.unpack_from(">HHIH", packet, at)
    end = at + 10 + size
    if end > len(packet):
        raise Malformed
    return rdtype, at + 4, end


def name_end(packet: bytes, start: int, *, compressed: bool) -> int:
    """Return where a name ends; raise `Malformed` or IndexError."""
    at = start
    while length := packet[at]:
        if compressed and length >= 0xC0:
            return at + 2
        at += length + 1
        if length > 63 or at - start > 254:
            raise Malformed
    return at + 1


def _find_edns(
    query: bytes, at: int, answers: int, authority: int, additional: int
) -> Edns | None:
    """Step over all records to the packet's end; return what the OPT says."""
    edns = None
    for index in range(answers + authority + additional):
        owner = at
        at = name_end(query, at, compressed=True)
        rdtype, size, ttl, length = struct.unpack_from(">HHIH", query, at)
        data, at = at + 10, at + 10 + length
        if rdtype != OPT:
            continue
        if edns or query[owner] or index < answers + authority:
            raise Malformed  # RFC 6891: one, at the root, in the additional section
        _check_options(query, data, at)
        version, dnssec_ok = ttl >> 16 & 0xFF, bool(ttl & 0x8000)
        edns = Edns(size=size, version=version, dnssec_ok=dnssec_ok)
    if at != len(query):
        raise Malformed
    return edns


def _check_options(packet: bytes, at: int, end: int) -> None:
    while at < end:
        _, length = struct.unpack_from(">HH", packet, at)
        at += 4 + length
    if at != end:
        raise Malformed


def _ends_with_usual_opt(query: bytes, end: int) -> bool:
    """Tell whether all that follows is an OPT of version 0 with at most one option."""
    rest = len(query) - end - _OPT_SIZE
    return (
        query[4:12] == _ONE_QUESTION_AND_OPT
        and query[end : end + 3] == b"\0\0\x29"
        and int.from_bytes(query[end + 9 : end + 11]) == rest
        and query[end + 6] == 0
        and (rest == 0 or int.from_bytes(query[end + 13 : end + 15]) == rest - 4)
    )


def suffixes(name: bytes) -> Iterator[bytes]:
    """Yield a name and all that it lies under, down to the root."""
    at = 0
    while name[at]:
        yield name[at:]
        at += name[at] + 1
    yield b"\0"


def pointer(offset: int) -> bytes:
    """Return a compressed name: what stands at that place of the packet."""
    return struct.pack(">H", 0xC000 | offset)


def compress(name: bytes, question_name: bytes) -> bytes:
    """Replace what a name shares with the question's by a pointer to it."""
    known = set(suffixes(question_name)) - {b"\0"}
    for suffix in suffixes(name):
        if suffix in known:
            place = HEADER_SIZE + len(question_name) - len(suffix)
            return name[: -len(suffix)] + pointer(place)
    return name


def text(*strings: str) -> bytes:
    """Return the data of a TXT record; of each string what fits, 255 bytes."""
    cut = (string.encode()[:LONGEST_STRING] for string in strings)
    return b"".join(bytes((len(string),)) + string for string in cut)


def rrset(
    owner: bytes, rdtype: int, ttl_s: int, rdatas: Iterable[bytes]
) -> tuple[bytes, ...]:
    """Return the records of one name and type, one each."""
    head = owner + struct.pack(">HHI", rdtype, IN, ttl_s)
    return tuple(head + len(rdata).to_bytes(2) + rdata for rdata in rdatas)
