#!lua name=weir_parked_v1
-- Functions of the labels that wait for their transaction (features/parked.py).
--
-- Keys                                                value
--   <prefix>tx:{bucket}:<transaction id>              decision index entry
--   <prefix>parked:<spec>:{bucket}:<source>           fate of one label: 'w' waits, 'd' given up, else the number that carries it
--   <prefix>parked:<spec>:{partition}:records         hash: source -> parked label
--   <prefix>parked:<spec>:{partition}:waiting         sorted set: source by append time
--   <prefix>parked:<spec>:{partition}:numbered        sorted set: source by number
--   <prefix>parked:<spec>:{partition}:number          last number given
--
-- The fate lies in the slot of the index entry, so that "is its transaction there?" and what follows from it are one step.

local APPLY, WAIT, SETTLED = 0, 1, 2
local CARRY, ELSEWHERE, GIVEN_UP, UNKNOWN = 0, 1, 2, 3

-- Whether a transaction is applied: what is only claimed (features/index.py) is not in the states yet.
local function is_there(key)
  local answer = redis.pcall('GETRANGE', key, 28, 28)
  return type(answer) == 'string' and answer ~= '' and answer ~= '\0'
end

-- weir_divert_v1: decide about labels from the topic. KEYS: index entry and fate of each. ARGV: ttl s. -> APPLY, WAIT, SETTLED.
local function divert(keys, args)
  local out = {}
  for i = 1, #keys, 2 do
    local fate = redis.call('GET', keys[i + 1])
    if fate then
      out[#out + 1] = fate == 'w' and WAIT or SETTLED
    elseif is_there(keys[i]) then
      out[#out + 1] = APPLY
    else
      redis.call('SET', keys[i + 1], 'w', 'EX', args[1])
      out[#out + 1] = WAIT
    end
  end
  return out
end

-- weir_carry_v1: decide about numbered labels. KEYS: index entry and fate of each. ARGV: ttl s, the numbers.
-- -> CARRY, ELSEWHERE, GIVEN_UP, UNKNOWN.
local function carry(keys, args)
  local out = {}
  for i = 1, #keys, 2 do
    local fate, number = redis.call('GET', keys[i + 1]), args[(i + 3) / 2]
    if fate == 'd' then
      out[#out + 1] = GIVEN_UP
    elseif fate and fate ~= 'w' then
      out[#out + 1] = fate == number and CARRY or ELSEWHERE
    elseif is_there(keys[i]) then
      redis.call('SET', keys[i + 1], number, 'EX', args[1])
      out[#out + 1] = CARRY
    else
      out[#out + 1] = UNKNOWN
    end
  end
  return out
end

-- weir_give_up_v1: give labels up. KEYS: index entry and fate of each. ARGV: ttl s. -> 1: given up, now or before.
local function give_up(keys, args)
  local out = {}
  for i = 1, #keys, 2 do
    local fate = redis.call('GET', keys[i + 1])
    if fate == 'd' then
      out[#out + 1] = 1
    elseif (fate and fate ~= 'w') or redis.call('EXISTS', keys[i]) == 1 then
      out[#out + 1] = 0
    else
      redis.call('SET', keys[i + 1], 'd', 'EX', args[1])
      out[#out + 1] = 1
    end
  end
  return out
end

-- weir_park_v1: keep labels. KEYS: records, waiting. ARGV: source, append time ms, parked label of each. -> number of new ones.
local function park(keys, args)
  local new = 0
  for i = 1, #args, 3 do
    if redis.call('HSETNX', keys[1], args[i], args[i + 2]) == 1 then
      redis.call('ZADD', keys[2], args[i + 1], args[i])
      new = new + 1
    end
  end
  return new
end

-- weir_waiting_v1: read labels without a number, oldest first.
-- KEYS: records, waiting. ARGV: append time before which ('+inf' = any), start, most. -> parked labels.
local function waiting(keys, args)
  local before = args[1] == '+inf' and args[1] or '(' .. args[1]
  local sources = redis.call('ZRANGEBYSCORE', keys[2], '-inf', before, 'LIMIT', args[2], args[3])
  return #sources > 0 and redis.call('HMGET', keys[1], unpack(sources)) or {}
end

-- weir_number_v1: number labels, and read the least numbered ones.
-- KEYS: records, waiting, numbered, number. ARGV: most, sources. -> number and parked label of each, in the order of numbers.
-- Numbers follow the clock: one that a failover forgot is not given a second time.
local function number(keys, args)
  local now = redis.call('TIME')
  local next_number = math.max((tonumber(redis.call('GET', keys[4])) or 0) + 1, now[1] * 1000 + math.floor(now[2] / 1000))
  for i = 2, #args do
    if redis.call('ZREM', keys[2], args[i]) == 1 then
      redis.call('ZADD', keys[3], next_number, args[i])
      redis.call('SET', keys[4], string.format('%.0f', next_number))
      next_number = next_number + 1
    end
  end
  local out = {}
  local found = redis.call('ZRANGE', keys[3], 0, args[1] - 1, 'WITHSCORES')
  for i = 1, #found, 2 do
    local label = redis.call('HGET', keys[1], found[i])
    if label then
      out[#out + 1] = string.format('%.0f', found[i + 1])
      out[#out + 1] = label
    end
  end
  return out
end

-- weir_unpark_v1: forget labels. KEYS: records, waiting, numbered. ARGV: sources. -> number of those that were there.
local function unpark(keys, args)
  redis.call('ZREM', keys[2], unpack(args))
  redis.call('ZREM', keys[3], unpack(args))
  return redis.call('HDEL', keys[1], unpack(args))
end

redis.register_function('weir_divert_v1', divert)
redis.register_function('weir_carry_v1', carry)
redis.register_function('weir_give_up_v1', give_up)
redis.register_function('weir_park_v1', park)
redis.register_function{function_name = 'weir_waiting_v1', callback = waiting, flags = {'no-writes'}}
redis.register_function('weir_number_v1', number)
redis.register_function('weir_unpark_v1', unpark)
