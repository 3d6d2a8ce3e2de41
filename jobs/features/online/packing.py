"""What a stored value looks like and the name it is stored under, the same in every backend.

A value is 8 bytes of time, 8 bytes of layout, of a live state 8 random bytes that change with every write, then its
payload. The time is in microseconds plus 2**63 and big-endian, so that bytes compare as the numbers do.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Sequence
from os import urandom

from jobs.spec import FeatureView, LiveView

TIME, HEADER, MARK = 8, 16, 24
"""How many bytes order a value in time, say what it is, and tell one live state from every other."""
VIEWS, MARKS = "_views", "_marks"
"""Under these names, which no view can have, is kept which views the store holds, and from what they were made."""
FILLING = bytes(8)
"""The layout of a view that is not complete yet."""
_HEADER, _STATE = struct.Struct(">Q8s"), struct.Struct(">Q8s8s")
_OFFSET = 2**63
_plain = re.compile(r"[^%|\0\ud800-\udfff]{0,200}").fullmatch
_special = re.compile(r"[%|\0\ud800-\udfff]")


def layout_of(view: FeatureView | LiveView) -> bytes:
    """The view's schema as 8 bytes."""
    return bytes.fromhex(view.schema)


def pack(at_us: int, layout: bytes, payload: bytes) -> bytes:
    """A batch value, or what is kept about a view."""
    return _HEADER.pack(at_us + _OFFSET, layout) + payload


def pack_state(newest_us: int, layout: bytes, state: bytes) -> bytes:
    """A live state, told from every other by its first 24 bytes."""
    return _STATE.pack(newest_us + _OFFSET, layout, urandom(8)) + state


def time_of(value: bytes) -> int:
    """A value's time in microseconds."""
    return int.from_bytes(value[:TIME], "big") - _OFFSET


def name_of(view: str, key: Sequence[object]) -> str:
    """`view:key`, different for every view and key, valid UTF-8 and less than 1,100 bytes long.

    Columns are separated by |; in them a %, a |, a zero and what is no character are escaped; a very long key is hashed.
    """
    if len(key) == 1:
        text = str(key[0])
        if _plain(text):
            return f"{view}:{text}"
    text = "|".join(_special.sub(_escape, str(column)) for column in key)
    if len(text) > 200 and len(data := text.encode()) > 1_000:
        text = f"%#{hashlib.sha256(data).hexdigest()}"
    return f"{view}:{text}"


def _escape(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):04x}"
