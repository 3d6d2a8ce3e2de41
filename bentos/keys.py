"""Who may ask: bearer keys, of which only SHA-256 hashes are kept."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from pathlib import Path

from jobs.settings import Settings

_LOOK_AGAIN = 1.0
log = logging.getLogger("tidemill.keys")


class Keys:
    """The key of the settings, and those in `<home>/serving/keys.json`: `{"name": "sha256 of the key"}`.

    The file is read again when it changes, so keys are added and withdrawn without a restart.
    """

    def __init__(self, settings: Settings) -> None:
        key = settings.api_key
        self._own = [hashlib.sha256(key.get_secret_value().encode()).hexdigest()] if key else []
        self._path: Path = settings.home / "serving" / "keys.json"
        self._hashes, self._read, self._looked = self._own, 0, 0.0
        self._allowed: set[bytes] = set()
        """Headers that carry one of the keys, for as long as the keys are not looked at again."""

    def allow(self, authorization: bytes) -> bool:
        """Whether an Authorization header carries one of the keys; without any key, nobody may ask."""
        now = time.monotonic()
        if now - self._looked > _LOOK_AGAIN:
            self._looked = now
            self._allowed.clear()
            self._refresh()
        if authorization in self._allowed:
            return True
        scheme, _, presented = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not presented:
            return False
        digest = hashlib.sha256(presented.strip()).hexdigest()
        allowed = any(hmac.compare_digest(digest, known) for known in self._hashes)
        if allowed:
            self._allowed.add(authorization)
        return allowed

    def _refresh(self) -> None:
        try:
            changed = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            self._hashes, self._read = self._own, 0
            return
        if changed == self._read:
            return
        try:
            found = [str(value) for value in json.loads(self._path.read_bytes()).values()]
        except (ValueError, AttributeError, OSError):
            log.exception("%s does not parse; the keys read before stay in force", self._path)
        else:
            self._hashes = self._own + found
        self._read = changed
