"""Names and data of records as text, as a zone file has them (RFC 1035, section 5).

As dnspython writes them, which takes long for many: what is usual is written here.
"""

from __future__ import annotations

import functools
import re

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from veo_shell.core.dns_packet import CNAME, NS, PTR, SRV, TXT, A

_PLAIN_LABELS = re.compile(rb"[a-z0-9_*-]*")
_PLAIN_STRING = re.compile(rb"[ !#-\[\]-~]*")
_NAMES = frozenset({CNAME, NS, PTR})


def name_text(wire: bytes) -> str:
    """Return a name as text, with a dot at its end.

    >>> name_text(b"\\x03web\\x03veo\\x00")
    'web.veo.'
    """
    labels = labels_of(wire)
    if not labels or not _PLAIN_LABELS.fullmatch(b"".join(labels)):
        return dns.name.from_wire(wire, 0)[0].to_text()
    return b".".join(labels).decode() + "."


def data_text(rdtype: int, rdata: bytes) -> str:
    """Return a record's data as text."""
    if rdtype == A:
        return "{}.{}.{}.{}".format(*rdata)
    if rdtype == SRV:
        numbers = (int.from_bytes(rdata[at : at + 2]) for at in (0, 2, 4))
        return "{} {} {} ".format(*numbers) + _target_text(rdata[6:])
    if rdtype in _NAMES:
        return _target_text(rdata)
    strings = _strings(rdata) if rdtype == TXT else []
    if strings and all(map(_PLAIN_STRING.fullmatch, strings)):
        return " ".join(f'"{string.decode()}"' for string in strings)
    kind = dns.rdatatype.RdataType.make(rdtype)
    return dns.rdata.from_wire(dns.rdataclass.IN, kind, rdata, 0, len(rdata)).to_text()


@functools.lru_cache(maxsize=512)
def type_text(rdtype: int) -> str:
    """Return what a type is called."""
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rdtype))


def labels_of(wire: bytes) -> list[bytes]:
    """Return the labels of a name, without the root's."""
    labels, at = [], 0
    while size := wire[at]:
        labels.append(wire[at + 1 : at + 1 + size])
        at += 1 + size
    return labels


# Nodes, as a rule: few, and each the target of many
_target_text = functools.lru_cache(maxsize=4096)(name_text)


def _strings(rdata: bytes) -> list[bytes]:
    strings, at = [], 0
    while at < len(rdata):
        strings.append(rdata[at + 1 : at + 1 + rdata[at]])
        at += 1 + rdata[at]
    return strings
