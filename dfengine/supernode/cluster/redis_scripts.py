"""The cluster's facts in Redis 7 or Valkey, by redis-py (extra `cluster`). Each request is one script, which runs atomically.

    PREFIXmember:ID   the record of a supernode, for TTL
    PREFIXmembers     the ids of all members, some of which may be gone
    PREFIXlead:NAME   the id of the task's leader (`cluster_names`); valid as long as the leader is a member, and LEASE at most
    PREFIXrelease:ID  the number of the last request of a supernode to release leads (`lead_releases`), for LEASE
    PREFIXprobe:NAME  the id of the supernode that may test if it reads the task's origin faster than the leader, for a time that it states;
                      while it is the leader's own id, because it has taken the lead, no other supernode can take it
    PREFIXnotice:NAME a notice of a supernode to all others (`notices`), for the seconds that it states
    PREFIXnotices     the names of notices by their numbers, MAX_NOTICES at most; the oldest are dropped first
    PREFIXnumber      the last number
    PREFIXepoch       changes when Redis has lost these, or returned to an earlier state of them: a member has received a greater number
    PREFIXorigin:NAME the seats of each supernode at one origin (`swarm.origin_quota`): for each id the seats that it has taken, the seats
                      that it wants, since when it wants them, and the time of this report (milliseconds of Redis)

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
from dfengine.supernode.cluster.cluster_view import LEASE, TTL
from dfengine.supernode.cluster.notices import AT_ONCE
from dfengine.supernode.cluster.redis_url import SENTINEL, check_url, redact_url
from dfengine.value import Value

SOCKET = 1.0
"""Seconds to connect, and for an answer."""

MAX_MEMBERS = 256
"""Members in one answer."""

MAX_NOTICES = 8192
"""Notices that Redis stores: 8 MB of usual ones, 170 MB if all have the greatest length."""

KEPT = 7 * 86400
"""Seconds after the last notice for which their numbers are stored."""

HEARTBEAT = """
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('SADD', KEYS[2], ARGV[1])
local found = {}
for _, id in ipairs(redis.call('SRANDMEMBER', KEYS[2], ARGV[5])) do
  local record = redis.call('GET', ARGV[4] .. id)
  if record then found[#found + 1] = record else redis.call('SREM', KEYS[2], id) end
end
return found
"""

ACQUIRE_LEAD = """
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
local leader = redis.call('GET', KEYS[2])
if leader and leader ~= ARGV[1] then
  local record = redis.call('GET', ARGV[4] .. leader)
  if record then return record end
end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[5])
return false
"""

CONFIRM_LEADS = """
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
local found = {}
for i = 2, #KEYS do
  found[i - 1] = 0
  if redis.call('GET', KEYS[i]) == ARGV[1] then found[i - 1] = redis.call('EXPIRE', KEYS[i], ARGV[4]) end
end
return found
"""

RELEASE = """
if tonumber(ARGV[2]) <= tonumber(redis.call('GET', KEYS[1]) or '0') then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
for i = 2, #KEYS do
  if redis.call('GET', KEYS[i]) == ARGV[1] then redis.call('DEL', KEYS[i]) end
end
return 1
"""

RESERVE_PROBES = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0
"""

TAKE_LEAD = """
if redis.call('GET', KEYS[2]) ~= ARGV[5] or redis.call('GET', KEYS[3]) == ARGV[5] then return 0 end
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

NEW_EPOCH = """
local number = tonumber(redis.call('GET', KEYS[2]) or '0')
if number < tonumber(ARGV[2]) and redis.call('GET', KEYS[3]) == ARGV[3] then
  redis.call('SET', KEYS[3], ARGV[4], 'EX', ARGV[5])
  local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
  if last[2] and number < tonumber(last[2]) then
    number = tonumber(last[2])
    redis.call('SET', KEYS[2], number, 'EX', ARGV[5])
  end
end
"""
"""The first part of the scripts for notices. ARGV: the prefix, the last number and the epoch that the member has received, a new epoch,
KEPT. Only the first member that has received a greater number changes the epoch; the others learn of it. Redis may also have evicted
only the number, so that notices with greater ones remain."""

SEND_NOTICES = NEW_EPOCH + """
redis.call('SET', KEYS[3], ARGV[4], 'NX')
for i = 7, #ARGV, 3 do
  redis.call('SET', ARGV[1] .. ARGV[i], ARGV[i + 1], 'PX', ARGV[i + 2])
  redis.call('ZADD', KEYS[1], redis.call('INCR', KEYS[2]), ARGV[i])
end
local over = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[6])
if over > 0 then
  for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, over - 1)) do
    redis.call('UNLINK', ARGV[1] .. name)
    redis.call('ZREM', KEYS[1], name)
  end
end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[5]) end
return false
"""

RECEIVE_NOTICES = NEW_EPOCH + """
local found = {redis.call('GET', KEYS[3]) or '', number}
local names = redis.call('ZRANGE', KEYS[1], '(' .. ARGV[2], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[6], 'WITHSCORES')
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
    """Redis did not answer, or its answer is invalid."""


class NoticeBatch(Value):
    """epoch: changes when Redis has lost its data, or the latest part. last: number of the last notice in this answer. records: with the
    seconds left."""

    epoch: bytes
    last: int
    records: list[tuple[bytes, float]]


class RedisScripts:
    """Requests to Redis. Any thread may use it. prefix: of all keys. Connects with the first request. Raises BadValue, without the
    password, for an invalid URL, and without the extra."""

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
            pool.connection_class(**pool.connection_kwargs)  # checks the options without connecting
        except (ValueError, TypeError, redis.RedisError) as error:
            why = f"{redact_url(url)!r} is not redis://HOST, rediss://HOST, unix:///PATH or sentinel://HOST/SERVICE"
            raise BadValue(f"--cluster {why}: {' '.join(str(error).split())[:200]}") from None

    @staticmethod
    def _sentinel(url: str, options: dict[str, Any]) -> Any:
        import redis
        from redis import sentinel

        package: Any = sentinel  # some versions of its functions have no types
        match = SENTINEL.fullmatch(url)
        assert match is not None, "check_url permits no other"
        tls, user, password, hosts, service, db, query = match.groups()
        # The options of the query as redis-py reads them for other URLs; the same for Sentinels and master.
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

    def _member_key(self, id: str = "") -> str:
        return f"{self._prefix}member:{id}"

    def _lead_key(self, task: str) -> str:
        return f"{self._prefix}lead:{task}"

    def _probe_key(self, task: str) -> str:
        return f"{self._prefix}probe:{task}"

    @cached_property
    def _scripts(self) -> dict[str, Any]:
        texts = (HEARTBEAT, ACQUIRE_LEAD, CONFIRM_LEADS, RELEASE, RESERVE_PROBES, TAKE_LEAD, LEAVE, SEND_NOTICES, RECEIVE_NOTICES, SEATS)
        return {text: self._redis.register_script(text) for text in texts}

    def _run(self, script: str, keys: list[str], given: list[Any]) -> Any:
        """Run a script. Raises ClusterError."""
        import redis

        try:
            return self._scripts[script](keys=keys, args=given)
        except (redis.RedisError, OSError, ValueError) as error:
            raise ClusterError(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from None

    def heartbeat(self, id: str, record: bytes) -> list[bytes]:
        """Renew a member's record for TTL; return the records of all members. Raises ClusterError."""
        given = [id, record, int(TTL * 1000), self._member_key(), MAX_MEMBERS]
        found = self._run(HEARTBEAT, [self._member_key(id), self._prefix + "members"], given)
        if not isinstance(found, list):
            raise ClusterError("Redis returned no list of members")
        return [each for each in found if isinstance(each, bytes)]

    def acquire_lead(self, task: str, id: str, record: bytes) -> bytes | None:
        """Return the record of the task's leader, or make this supernode the leader and return None; renew its TTL. Raises ClusterError."""
        given = [id, record, int(TTL * 1000), self._member_key(), int(LEASE)]
        found = self._run(ACQUIRE_LEAD, [self._member_key(id), self._lead_key(task)], given)
        return found if isinstance(found, bytes) else None

    def confirm_leads(self, tasks: list[str], id: str, record: bytes) -> list[str]:
        """Return those of the tasks that this supernode leads; renew their leases, and its TTL. Raises ClusterError."""
        given = [id, record, int(TTL * 1000), int(LEASE)]
        found = self._run(CONFIRM_LEADS, [self._member_key(id), *map(self._lead_key, tasks)], given)
        if not isinstance(found, list) or len(found) != len(tasks):
            raise ClusterError("Redis returned no list of leads")
        return [task for task, leads in zip(tasks, found, strict=True) if leads == 1]

    def release(self, tasks: list[str], id: str, number: int) -> bool:
        """Give up the leads of those of the tasks that this supernode leads. False: nothing is changed, because Redis has received this
        number or a greater one from this supernode already. Raises ClusterError."""
        keys = [f"{self._prefix}release:{id}", *map(self._lead_key, tasks)]
        return bool(self._run(RELEASE, keys, [id, number, int(LEASE)]) == 1)

    def reserve_probes(self, task: str, id: str, seconds: float) -> bool:
        """Reserve probes of the task's origin for this supernode; False: another one has them reserved. Raises ClusterError."""
        return bool(self._run(RESERVE_PROBES, [self._probe_key(task)], [id, max(1, int(seconds * 1000))]) == 1)

    def take_lead(self, task: str, id: str, record: bytes, leader: str, seconds: float) -> bool:
        """Take the task's lead from the supernode `leader`, and reserve probes of its origin for `seconds`; renew this member for TTL.

        leader: the id of the present leader. False: another one leads, or this one has taken the lead itself and its `seconds` are not
        over, and nothing is changed. Raises ClusterError.
        """
        keys = [self._member_key(id), self._lead_key(task), self._probe_key(task)]
        given = [id, record, int(TTL * 1000), int(LEASE), leader, max(1, int(seconds * 1000))]
        return bool(self._run(TAKE_LEAD, keys, given) == 1)

    def leave(self, id: str) -> None:
        """End a membership, and with it all its leads. Raises ClusterError."""
        self._run(LEAVE, [self._member_key(id), self._prefix + "members"], [id])

    def _notice_keys(self) -> list[str]:
        return [self._prefix + name for name in ("notices", "number", "epoch")]

    def _notice_arguments(self, since: int, epoch: bytes) -> list[Any]:
        return [f"{self._prefix}notice:", since, epoch, secrets.token_hex(8), KEPT]

    def send_notices(self, records: list[tuple[str, bytes, float]], since: int = 0, epoch: bytes = b"") -> None:
        """Store notices: names, sealed notices, and the seconds for which each is stored. since, epoch: of the last notice that this member
        has received; if Redis has this epoch with a smaller number, it changes the epoch. Raises ClusterError."""
        given = [*self._notice_arguments(since, epoch), MAX_NOTICES]
        for name, record, seconds in records:
            given += [name, record, max(1, int(seconds * 1000))]
        self._run(SEND_NOTICES, self._notice_keys(), given)

    def receive_notices(self, since: int, epoch: bytes = b"") -> NoticeBatch:
        """Return the notices after number `since`, AT_ONCE at most. since, epoch: see `send_notices`. Raises ClusterError."""
        found = self._run(RECEIVE_NOTICES, self._notice_keys(), [*self._notice_arguments(since, epoch), AT_ONCE])
        right = isinstance(found, list) and len(found) % 2 == 0 and all(map(isinstance, found, cycle((bytes, int))))
        if not right or not 2 <= len(found) <= 2 + 2 * AT_ONCE or found[1] < 0:
            raise ClusterError("Redis returned no list of notices")
        return NoticeBatch(found[0], found[1], [(record, left / 1000) for record, left in zip(found[2::2], found[3::2], strict=True)])

    def seats(self, id: str, limit: int, demand: dict[str, tuple[int, int]], term: float, waiting_term: float) -> list[int]:
        """Report, for each origin by its name, the seats held and the further ones wanted of `limit`; return the seats held from now on.

        term: seconds for which they count as held. waiting_term: seconds for which the supernode counts as waiting. Raises ClusterError.
        """
        given: list[Any] = [id, limit, int(term * 1000), int(waiting_term * 1000)]
        for held, wanted in demand.values():
            given += [held, wanted]
        found = self._run(SEATS, [f"{self._prefix}origin:{name}" for name in demand], given)
        if not isinstance(found, list) or len(found) != len(demand) or not all(isinstance(each, int) and each >= 0 for each in found):
            raise ClusterError("Redis returned no list of seats")
        return [min(each, max(limit, held)) for each, (held, _) in zip(found, demand.values(), strict=True)]

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
        for sentinel in getattr(getattr(self._redis.connection_pool, "sentinel_manager", None), "sentinels", ()):
            sentinel.close()
