"""From a post and its author's history to the model's inputs: in training and in serving.

Words and their pieces are hashed into flags: no vocabulary is kept, a text alone decides. numpy and standard library.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]

WORDS, PIECES = 86, 22
"""Numbers of flags, 48 each: for words, and for runs of four letters of a word with its ends."""
_BITS = 48
_LINK, _NAME = re.compile(r"https?://\S+|www\.\S+"), re.compile(r"@\w+")
_SPACED = re.compile(r"(?<!\w)(?:\w[.\-_*·]){2,}\w(?!\w)")
_LONG = re.compile(r"([^\W\d_])\1{2,}")
_WORD = re.compile(r"[^\W_]+|[!?]")
_MASKED = re.compile(r"(?<=[a-z])[013457@$](?=[a-z@$0-9]|\b)|\b[013457@$](?=[a-z]{2})")
_MASKS = dict(zip("013457@$", "oieastas", strict=True))
_ALIKE = str.maketrans("авеіјкмнорстухёαεικνορτυχ", "abeijkmhopctyxeaeikvoptux")
"""Cyrillic and Greek letters that look like Latin ones; only words that have Latin letters too are read so."""


def request(payload: Columns, features: Mapping[str, Columns]) -> NDArray[np.float64]:
    """The model's inputs, a row per post, in the order the spec declares; an author nobody knows counts as new."""
    author = features["author"]
    rows = [_row(text) for text in payload["text"].tolist()]
    known = author["known_14d"]
    share = author["harmful_14d"] / np.maximum(known, 1)
    history = np.column_stack([author["count_1h"], author["count_1d"], known, share]).astype(np.float64)
    texts = np.array(rows, dtype=np.float64).reshape(len(rows), 6 + WORDS + PIECES)
    return np.column_stack([texts[:, :6], history, texts[:, 6:]])


def rule(payload: Columns) -> NDArray[np.bool_]:
    """Which posts the plain rule holds back: those with three links or more."""
    return np.array([len(_LINK.findall(text)) >= 3 for text in payload["text"].tolist()], dtype=np.bool_)


def normalised(text: str) -> tuple[str, int]:
    """The text in small Latin letters as it would be read aloud, and how many tricks of spelling that undid."""
    text = html.unescape(text)
    plain = "".join(one for one in unicodedata.normalize("NFKD", text) if unicodedata.category(one) not in ("Mn", "Cf"))
    tricks = sum(unicodedata.category(one) == "Cf" for one in text)
    plain = _NAME.sub(" username ", _LINK.sub(" weblink ", plain.lower()))
    alike = " ".join(word.translate(_ALIKE) if re.search("[a-z]", word) else word for word in plain.split(" "))
    tricks += sum(one != other for one, other in zip(plain, alike, strict=True))
    for pattern, readable in (
        (_SPACED, lambda found: re.sub(r"[.\-_*·]", "", found[0])),
        (_MASKED, lambda found: _MASKS[found[0]]),
        (_LONG, lambda found: found[1]),
    ):
        alike, count = pattern.subn(readable, alike)
        tricks += count
    return alike, tricks


def _row(text: str) -> list[float]:
    """Length, words, share of capitals, exclamations, links, tricks, then the numbers of flags."""
    plain, tricks = normalised(text)
    words, flags = _WORD.findall(plain), [0] * (WORDS + PIECES)
    for flag in {crc32(word.encode()) % (WORDS * _BITS) for word in words}:
        flags[flag // _BITS] |= 1 << flag % _BITS
    for flag in {crc32(piece.encode()) % (PIECES * _BITS) for piece in _pieces(words)}:
        flags[WORDS + flag // _BITS] |= 1 << flag % _BITS
    capitals = sum(map(str.isupper, text)) / len(text)
    return [len(text), len(words), capitals, text.count("!"), plain.count("weblink"), tricks, *flags]


def _pieces(words: Iterable[str]) -> Iterable[str]:
    for word in words:
        ended = f" {word} "
        yield from (ended[start : start + 4] for start in range(len(ended) - 3))
