"""Who may ask: bearer keys, of which only SHA-256 hashes are kept."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from pathlib import Path

from jobs.settings import Settings

OWN = "installation"
"""The name of the key of the settings."""
_LOOK_AGAIN = 1.0
log = logging.getLogger("tidemill.keys")


class Keys:
    """The key of the settings, and those in `<home>/serving/keys.json`: `{"name": "sha256 of the key"}`.

    A list of hashes is several keys of one name, as while one replaces another. The file is read again when it
    changes, so keys are added, rotated and withdrawn without a restart.
    """

    def __init__(self, settings: Settings) -> None:
        key = settings.api_key
        self._own = {hashlib.sha256(key.get_secret_value().encode()).hexdigest(): OWN} if key else {}
        self._path: Path = settings.home / "serving" / "keys.json"
        self._names, self._read, self._looked = self._own, 0, -_LOOK_AGAIN
        self._known: dict[bytes, str] = {}
        """Headers that carry one of the keys, for as long as the keys are not looked at again."""

    def name(self, authorization: bytes) -> str | None:
        """Whose key an Authorization header carries; None when it carries none of them."""
        now = time.monotonic()
        if now - self._looked > _LOOK_AGAIN:
            self._looked = now
            self._known.clear()
            self._refresh()
        if authorization in self._known:
            return self._known[authorization]
        scheme, _, presented = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not presented:
            return None
        digest, found = hashlib.sha256(presented.strip()).hexdigest(), None
        for known, name in self._names.items():
            if hmac.compare_digest(digest, known):
                found = name
        if found is not None:
            self._known[authorization] = found
        return found

    def _refresh(self) -> None:
        try:
            changed = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            self._names, self._read = self._own, 0
            return
        if changed == self._read:
            return
        try:
            named = json.loads(self._path.read_bytes()).items()
            found = {str(one): str(name) for name, hashes in named for one in _list(hashes)}
        except (ValueError, AttributeError, TypeError, OSError):
            log.exception("%s does not parse; the keys read before stay in force", self._path)
        else:
            self._names = found | self._own
        self._read = changed


def _list(hashes: str | list[str]) -> list[str]:
    return hashes if isinstance(hashes, list) else [hashes]
