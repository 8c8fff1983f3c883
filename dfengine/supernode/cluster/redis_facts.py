"""The cluster's facts in Redis 7 or Valkey, by redis-py (extra `cluster`). Each question is one script, which nothing divides.

    PREFIXmember:ID   what a supernode says of itself, for TTL
    PREFIXmembers     the ids of all, some of which may be gone
    PREFIXlead:NAME   the id of who leads the task (`cluster_names`); it counts as long as that one is a member, and LEASE at most
    PREFIXprobe:NAME  the id of who may find out whether it reads the task's origin quicker than the leader, for a time that it says
    PREFIXnotice:NAME what a supernode told all others (`notices`), for the seconds that it said
    PREFIXnotices     their names by the number that each was given, MOST_NOTICES at most; the oldest leave first
    PREFIXnumber      the last number
    PREFIXepoch       changes when Redis has lost these
    PREFIXorigin:NAME what each supernode has and wants of the seats at one origin (`swarm.origin_seats`): for each id the seats that it has
                      taken, those that it wants, since when it wants, and when it said so (milliseconds of Redis)

A URL is `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, `rediss://` for TLS, `unix:///PATH`, as redis-py reads them, or
`sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST...]/SERVICE[/DB]`, `sentinels://` with TLS to both (`?ssl_ca_certs=FILE`
and redis-py's other `ssl_` options).
"""

from __future__ import annotations

import secrets
from functools import cached_property
from itertools import cycle
from typing import Any
from urllib.parse import unquote

from dfengine.errors import BadValue, DfengineError
from dfengine.supernode.cluster.beliefs import LEASE, TTL
from dfengine.supernode.cluster.notices import AT_ONCE
from dfengine.supernode.cluster.redis_url import SENTINEL, check_url, shown
from dfengine.value import Value

SOCKET = 1.0
"""Seconds to connect, and for an answer."""

MOST = 256
"""Members that are told."""

MOST_NOTICES = 8192
"""Notices that Redis keeps: 8 MB of usual ones, 170 MB if all are of the longest."""

KEPT = 7 * 86400
"""Seconds after the last notice for which their numbers are kept."""

BEAT = """
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('SADD', KEYS[2], ARGV[1])
local found = {}
for _, id in ipairs(redis.call('SRANDMEMBER', KEYS[2], ARGV[5])) do
  local record = redis.call('GET', ARGV[4] .. id)
  if record then found[#found + 1] = record else redis.call('SREM', KEYS[2], id) end
end
return found
"""

LEAD = """
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
local leader = redis.call('GET', KEYS[2])
if leader and leader ~= ARGV[1] then
  local record = redis.call('GET', ARGV[4] .. leader)
  if record then return record end
end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[5])
return false
"""

RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return false
"""

TURN = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0
"""

TAKE = """
if redis.call('GET', KEYS[2]) ~= ARGV[5] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[4])
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[6])
return 1
"""

LEAVE = """
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
return false
"""

TELL = """
redis.call('SET', KEYS[3], ARGV[4], 'NX')
for i = 5, #ARGV, 3 do
  redis.call('SET', ARGV[1] .. ARGV[i], ARGV[i + 1], 'PX', ARGV[i + 2])
  redis.call('ZADD', KEYS[1], redis.call('INCR', KEYS[2]), ARGV[i])
end
local over = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[2])
if over > 0 then
  for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, over - 1)) do
    redis.call('UNLINK', ARGV[1] .. name)
    redis.call('ZREM', KEYS[1], name)
  end
end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[3]) end
return false
"""

HEAR = """
local found = {redis.call('GET', KEYS[3]) or '', tonumber(redis.call('GET', KEYS[2]) or '0')}
local names = redis.call('ZRANGE', KEYS[1], '(' .. ARGV[2], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
for i = 1, #names, 2 do
  found[2] = tonumber(names[i + 1])
  local record = redis.call('GET', ARGV[1] .. names[i])
  if record then
    found[#found + 1] = record
    found[#found + 1] = redis.call('PTTL', ARGV[1] .. names[i])
  else redis.call('ZREM', KEYS[1], names[i]) end
end
return found
"""

SEATS = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local id, limit, term, hungry = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local found = {}
for i, key in ipairs(KEYS) do
  local held, wanted = tonumber(ARGV[3 + 2 * i]), tonumber(ARGV[4 + 2 * i])
  local since, taken, ahead, waiting = now, held, 0, {}
  local rows = redis.call('HGETALL', key)
  for j = 1, #rows, 2 do
    local has, wants, from, said = string.match(rows[j + 1], '^(%d+) (%d+) (%d+) (%d+)$')
    if not has or math.abs(now - said) > term then redis.call('HDEL', key, rows[j])
    elseif rows[j] == id then if tonumber(wants) > 0 then since = tonumber(from) end
    else
      taken = taken + has
      if tonumber(wants) > 0 and math.abs(now - said) <= hungry then waiting[#waiting + 1] = {tonumber(has), tonumber(from)} end
    end
  end
  for _, other in ipairs(waiting) do
    if other[1] < held or (other[1] == held and other[2] < since) then ahead = ahead + 1 end
  end
  local more = math.max(0, math.min(wanted, limit - taken - ahead))
  if more > 0 then since = now end
  found[i] = held + more
  if held + wanted == 0 then redis.call('HDEL', key, id)
  else
    redis.call('HSET', key, id, string.format('%d %d %d %d', found[i], wanted - more, since, now))
    redis.call('PEXPIRE', key, term)
  end
end
return found
"""


class ClusterError(DfengineError):
    """Redis does not answer, or not as it should."""


class Received(Value):
    """epoch: changes when Redis has lost its data. last: number of the last notice here. records: with the seconds left."""

    epoch: bytes
    last: int
    records: list[tuple[bytes, float]]


class RedisFacts:
    """Any thread may use it. prefix: of all keys. Nothing is connected to before the first question. Raises BadValue, which shows no
    password, for a URL that cannot be meant, and without the extra."""

    def __init__(self, url: str, prefix: str) -> None:
        self._prefix = prefix
        try:
            import redis
        except ImportError:
            raise BadValue("--cluster needs redis-py: pip install 'dfengine[cluster]'") from None
        options: dict[str, Any] = {"socket_timeout": SOCKET, "socket_connect_timeout": SOCKET, "retry": None, "retry_on_error": []}
        try:
            check_url(url)
            self._redis: Any = self._sentinel(url, options) if url.startswith("sentinel") else redis.Redis.from_url(url, **options)
            pool = self._redis.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # it does not connect yet; a pool makes its first one with the first question
        except (ValueError, TypeError, redis.RedisError) as error:
            why = f"{shown(url)!r} is not redis://HOST, rediss://HOST, unix:///PATH or sentinel://HOST/SERVICE"
            raise BadValue(f"--cluster {why}: {' '.join(str(error).split())[:200]}") from None

    @staticmethod
    def _sentinel(url: str, options: dict[str, Any]) -> Any:
        import redis
        from redis import sentinel

        package: Any = sentinel  # some versions of its functions have no types
        match = SENTINEL.fullmatch(url)
        assert match is not None, "check_url permits no other"
        tls, user, password, hosts, service, db, query = match.groups()
        # As redis-py reads them of other URLs: the same for Sentinels and master.
        given: dict[str, Any] = dict(redis.ConnectionPool.from_url(f"redis://-?{query or ''}").connection_kwargs)
        options = {**options, **{name: value for name, value in given.items() if name.startswith("ssl_")}, "ssl": bool(tls)}
        places = []
        for host in hosts.split(","):
            name, _, port = host.partition(":")
            if not name or not (port or "26379").isdigit():
                raise ValueError("a sentinel is HOST[:PORT]")
            places.append((name, int(port or 26379)))
        more = {"username": unquote(user or "") or None, "password": unquote(password or "") or None, "db": int(db or 0)}
        return package.Sentinel(places, sentinel_kwargs=options, **options).master_for(service, **more)

    def _member(self, id: str = "") -> str:
        return f"{self._prefix}member:{id}"

    def _lead(self, task: str) -> str:
        return f"{self._prefix}lead:{task}"

    def _probe(self, task: str) -> str:
        return f"{self._prefix}probe:{task}"

    @cached_property
    def _scripts(self) -> dict[str, Any]:
        return {text: self._redis.register_script(text) for text in (BEAT, LEAD, RELEASE, TURN, TAKE, LEAVE, TELL, HEAR, SEATS)}

    def _ask(self, script: str, keys: list[str], given: list[Any]) -> Any:
        """Raises ClusterError."""
        import redis

        try:
            return self._scripts[script](keys=keys, args=given)
        except (redis.RedisError, OSError, ValueError) as error:
            raise ClusterError(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from None

    def beat(self, id: str, record: bytes) -> list[bytes]:
        """It is a member for TTL from now on; the records of all. Raises ClusterError."""
        found = self._ask(BEAT, [self._member(id), self._prefix + "members"], [id, record, int(TTL * 1000), self._member(), MOST])
        if not isinstance(found, list):
            raise ClusterError("it tells no members")
        return [each for each in found if isinstance(each, bytes)]

    def lead(self, task: str, id: str, record: bytes) -> bytes | None:
        """The record of who leads the task; None: this one does, from now on. It is a member for TTL. Raises ClusterError."""
        found = self._ask(LEAD, [self._member(id), self._lead(task)], [id, record, int(TTL * 1000), self._member(), int(LEASE)])
        return found if isinstance(found, bytes) else None

    def release(self, task: str, id: str) -> None:
        """It leads the task no longer. Raises ClusterError."""
        self._ask(RELEASE, [self._lead(task)], [id])

    def turn(self, task: str, id: str, seconds: float) -> bool:
        """No other supernode may probe the task's origin for so long; False: this one may not, another one does. Raises ClusterError."""
        return bool(self._ask(TURN, [self._probe(task)], [id, max(1, int(seconds * 1000))]) == 1)

    def take(self, task: str, id: str, record: bytes, leader: str, seconds: float) -> bool:
        """The task is this supernode's instead of the leader's, and nobody probes its origin for so long. It is a member for TTL.

        leader: the id of who leads it. False: that one does not, and nothing is changed. Raises ClusterError.
        """
        keys = [self._member(id), self._lead(task), self._probe(task)]
        given = [id, record, int(TTL * 1000), int(LEASE), leader, max(1, int(seconds * 1000))]
        return bool(self._ask(TAKE, keys, given) == 1)

    def leave(self, id: str) -> None:
        """It is a member no longer, and leads nothing. Raises ClusterError."""
        self._ask(LEAVE, [self._member(id), self._prefix + "members"], [id])

    def _board(self) -> list[str]:
        return [self._prefix + name for name in ("notices", "number", "epoch")]

    def tell(self, records: list[tuple[str, bytes, float]]) -> None:
        """Names, notices, and the seconds for which each is kept. Raises ClusterError."""
        given: list[Any] = [f"{self._prefix}notice:", MOST_NOTICES, KEPT, secrets.token_hex(8)]
        for name, record, seconds in records:
            given += [name, record, max(1, int(seconds * 1000))]
        self._ask(TELL, self._board(), given)

    def receive(self, since: int) -> Received:
        """The notices after the one of that number, AT_ONCE at most. Raises ClusterError."""
        found = self._ask(HEAR, self._board(), [f"{self._prefix}notice:", since, AT_ONCE])
        right = isinstance(found, list) and len(found) % 2 == 0 and all(map(isinstance, found, cycle((bytes, int))))
        if not right or not 2 <= len(found) <= 2 + 2 * AT_ONCE or found[1] < 0:
            raise ClusterError("it tells no notices")
        return Received(found[0], found[1], [(record, left / 1000) for record, left in zip(found[2::2], found[3::2], strict=True)])

    def seats(self, id: str, limit: int, standing: dict[str, tuple[int, int]], term: float, hungry: float) -> list[int]:
        """Of each origin, by its name, the supernode has and wants so many more of `limit` seats: those that it has from now on.

        term: seconds for which they count as its own. hungry: for which it counts as one that waits. Raises ClusterError.
        """
        given: list[Any] = [id, limit, int(term * 1000), int(hungry * 1000)]
        for held, wanted in standing.values():
            given += [held, wanted]
        found = self._ask(SEATS, [f"{self._prefix}origin:{name}" for name in standing], given)
        if not isinstance(found, list) or len(found) != len(standing) or not all(isinstance(each, int) and each >= 0 for each in found):
            raise ClusterError("it tells no seats")
        return [min(each, max(limit, held)) for each, (held, _) in zip(found, standing.values(), strict=True)]

    def close(self) -> None:
        """Hang up."""
        self._redis.close()
        for sentinel in getattr(getattr(self._redis.connection_pool, "sentinel_manager", None), "sentinels", ()):
            sentinel.close()
