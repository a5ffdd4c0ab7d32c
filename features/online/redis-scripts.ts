/** The scripts of the Redis store: each runs whole, with nothing in between. */
import { createHash } from 'node:crypto';

export interface RedisScript {
  readonly text: string;
  readonly sha1: string;
}

/** A cursor is `<revision>` or `<revision> <appliedSeq> <foldedAt or -> <source>`. Lua unpacks at most some thousand values at a time. */
const SHARED = `
local function revisionOf(cursor) return cursor and string.match(cursor, '^%d+') or '0' end
local CHUNK = 4000
`;

/**
 * KEYS: states, rows. ARGV: the cursor's field, the expected revision, the new cursor, then how many arguments put states,
 * delete states, put rows and delete rows, then those. 1: done, 0: the view is at another revision.
 */
export const COMMIT_SCRIPT = script(`${SHARED}
if revisionOf(redis.call('HGET', KEYS[1], ARGV[1])) ~= ARGV[2] then return 0 end
local from = 8
local function send(command, key, count)
  local last = from + count - 1
  while from <= last do
    local to = math.min(from + CHUNK - 1, last)
    redis.call(command, key, unpack(ARGV, from, to))
    from = to + 1
  end
end
send('HSET', KEYS[1], tonumber(ARGV[4]))
send('HDEL', KEYS[1], tonumber(ARGV[5]))
send('HSET', KEYS[2], tonumber(ARGV[6]))
send('HDEL', KEYS[2], tonumber(ARGV[7]))
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1`);

/**
 * KEYS: states and rows of the one, states and rows of the other. ARGV: the cursor's field, 1 to refuse while the other has
 * fewer events, the revision that the other must be at or -. 1: done, 0: refused.
 */
export const EXCHANGE_SCRIPT = script(`${SHARED}
local one, other = redis.call('HGET', KEYS[1], ARGV[1]), redis.call('HGET', KEYS[3], ARGV[1])
local function applied(cursor) return tonumber(cursor and string.match(cursor, '^%d+ (%d+)') or '-1') end
if ARGV[2] == '1' and applied(one) > applied(other) then return 0 end
if ARGV[3] ~= '-' and revisionOf(other) ~= ARGV[3] then return 0 end
local revision = string.format('%.0f', math.max(tonumber(revisionOf(one)), tonumber(revisionOf(other))) + 1)
local function swap(a, b)
  local spare = a .. ':exchange'
  local hasA, hasB = redis.call('EXISTS', a) == 1, redis.call('EXISTS', b) == 1
  if hasA then redis.call('RENAME', a, spare) end
  if hasB then redis.call('RENAME', b, a) end
  if hasA then redis.call('RENAME', spare, b) end
end
swap(KEYS[1], KEYS[3])
swap(KEYS[2], KEYS[4])
local function renumber(key, cursor)
  local rest = cursor and string.gsub(cursor, '^%d+', '', 1) or ''
  redis.call('HSET', key, ARGV[1], revision .. rest)
end
renumber(KEYS[1], other)
renumber(KEYS[3], one)
return 1`);

function script(text: string): RedisScript {
  return { text, sha1: createHash('sha1').update(text).digest('hex') };
}
