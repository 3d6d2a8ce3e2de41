"""An online store in Redis: a string a value, named `tidemill:<project>:<view>:<key>`; scripts guard the writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from jobs.errors import ServiceError, SettingError
from jobs.features.online.backend import ACCEPTED, Change
from jobs.features.online.packing import HEADER, MARK, TIME

_REQUEST_SECONDS, _PATIENT_SECONDS = 0.25, 10.0
_AT_ONCE = 500
"""Keys a call: a script keeps every other client waiting for about a millisecond."""
# Bytes are compared one by one, because Lua compares strings by the server's locale.
_PUT = f"""
local function older(a, b)
  for i = 1, {TIME} do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return false
end
local written = 0
for i, key in ipairs(KEYS) do
  local there, new = redis.call('GETRANGE', key, 0, {HEADER - 1}), ARGV[i]
  if there == '' or there:sub({TIME + 1}) ~= new:sub({TIME + 1}, {HEADER}) or not older(new, there) then
    redis.call('SET', key, new)
    written = written + 1
  end
end
return written
"""
_SWAP = f"""
local done = {{}}
for i, key in ipairs(KEYS) do
  done[i] = redis.call('GETRANGE', key, 0, {MARK - 1}) == ARGV[2 * i - 1] and 1 or 0
  if done[i] == 1 then redis.call('SET', key, ARGV[2 * i]) end
end
return done
"""


class Redis:
    """A pool of connections; safe to share between threads."""

    def __init__(self, url: str, project: str) -> None:
        import redis
        from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
        from redis.retry import Retry

        def client(seconds: float, retry: Retry) -> Any:
            return redis.Redis.from_url(url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=retry)

        try:
            self._request = client(_REQUEST_SECONDS, Retry(NoBackoff(), 0))
            self._bulk = client(_PATIENT_SECONDS, Retry(ExponentialWithJitterBackoff(), 3))
        except ValueError as error:
            raise SettingError(f"TIDEMILL_ONLINE_STORE_URL: {error}; it must be {ACCEPTED}") from None
        known = self._request.connection_pool.connection_kwargs
        server = known.get("path") or f"{known.get('host', 'localhost')}:{known.get('port', 6379)}"
        self.label = f"Redis at {server}"
        self._prefix = f"tidemill:{project}:"
        self._put, self._swap = (self._request.register_script(script) for script in (_PUT, _SWAP))

    def ensure(self) -> None:
        with self._errors():
            self._bulk.ping()

    def get(self, names: Sequence[str], *, patient: bool) -> dict[str, bytes]:
        if not names:
            return {}
        client, prefix = self._bulk if patient else self._request, self._prefix
        with self._errors():
            values = client.mget([prefix + name for name in names])
        return {name: value for name, value in zip(names, values, strict=True) if value is not None}

    def put(self, rows: Iterable[tuple[str, bytes]]) -> int:
        written, rows = 0, iter(rows)
        while some := list(islice(rows, _AT_ONCE)):
            with self._errors():
                keys = [self._prefix + name for name, _ in some]
                written += self._put(keys, [value for _, value in some], client=self._bulk)
        return written

    def swap(self, changes: Sequence[Change], *, patient: bool) -> list[bool]:
        done: list[bool] = []
        for start in range(0, len(changes), _AT_ONCE):
            some = changes[start : start + _AT_ONCE]
            keys = [self._prefix + change.name for change in some]
            values = [value for change in some for value in (change.before or b"", change.after)]
            with self._errors():
                done += map(bool, self._swap(keys, values, client=self._bulk if patient else self._request))
        return done

    def sweep(self, prefix: str, layout: bytes) -> None:
        with self._errors():
            keys = self._bulk.scan_iter(match=f"{self._prefix}{prefix}*", count=1_000)
            while some := list(islice(keys, _AT_ONCE)):
                with self._bulk.pipeline(transaction=False) as pipeline:
                    for key in some:
                        pipeline.getrange(key, TIME, HEADER - 1)
                    found = pipeline.execute()
                if old := [key for key, value in zip(some, found, strict=True) if value and value != layout]:
                    self._bulk.unlink(*old)

    def close(self) -> None:
        for client in (self._request, self._bulk):
            client.connection_pool.disconnect(inuse_connections=False)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import redis

        try:
            yield
        except (redis.RedisError, OSError) as error:
            raise ServiceError(
                f"the online store, {self.label}, does not answer: {error}; see `tidemill doctor`"
            ) from error
