#!lua name=weir_features_v1
-- Functions of the feature store. None of them raises on what a key holds: a raise in the middle of a call would leave
-- the keys before it changed and repeat for ever.
--
-- Keys                                               value
--   <prefix>fs:<spec>:{bucket}:<type letter>:<id>    entity state: [checkpoint] + 32-byte records
--   <prefix>bad:<spec>:{bucket}:...                  a state of wrong type or length, moved aside
--   <prefix>tx:{bucket}:<transaction id>             decision index entry (features/index.py)
--   <prefix>sources                                  hash: topic uuid:partition -> source id

local WORD, RECORD, LABEL, MOST_LABELS = 8, 32, 24, 8
local APPLIED = 255 -- in place of an answer: applied, not known
local FIXED = 44 -- bytes of an index entry before its ids

-- Where a bad state goes: the same name behind the other prefix, so the same hash tag and slot.
local function aside(key, prefix, bad_prefix) return bad_prefix .. string.sub(key, #prefix + 1) end

-- weir_begin_anew_v1: append records to keys that were found to hold no string: what they hold is moved aside.
-- KEYS: states. ARGV: ttl s, prefix of states, prefix of bad ones, one group of records per key. -> number moved.
local function begin_anew(keys, args)
  local moved = 0
  for i = 1, #keys do
    local key, records = keys[i], args[i + 3]
    if type(redis.pcall('APPEND', key, records)) ~= 'number' then
      local bad = aside(key, args[2], args[3])
      redis.call('RENAME', key, bad)
      redis.call('EXPIRE', bad, args[1])
      redis.call('SET', key, records, 'EX', args[1])
      moved = moved + 1
    end
  end
  return moved
end

-- weir_checkpoint_v1: replace the oldest bytes of each state by a checkpoint, if nobody did before.
-- The token is the first 8 bytes and the last 32 bytes that the checkpoint consumes.
-- KEYS: states. ARGV per key: first 8 bytes, last 32 bytes, consumed bytes, header and snapshot. -> places that won.
local function checkpoint(keys, args)
  local won = {}
  for i = 1, #keys do
    local key, a = keys[i], 4 * i - 3
    local used = tonumber(args[a + 2])
    local first = redis.pcall('GETRANGE', key, 0, WORD - 1)
    if first == args[a] and redis.call('GETRANGE', key, used - RECORD, used - 1) == args[a + 1] then
      redis.call('SET', key, args[a + 3] .. redis.call('GETRANGE', key, used, -1), 'KEEPTTL')
      won[#won + 1] = i
    end
  end
  return won
end

-- weir_set_aside_v1: move states whose content cannot be decoded, if they still begin as they were read.
-- KEYS: states. ARGV: ttl s, prefix of states, prefix of bad ones, the bytes as read, one per key. -> number moved.
-- The records after those bytes belong to the new log and stay.
local function set_aside(keys, args)
  local moved = 0
  for i = 1, #keys do
    local key, bytes = keys[i], args[i + 3]
    local now = redis.pcall('GET', key)
    if type(now) == 'string' and #now > #bytes and string.sub(now, 1, #bytes) == bytes then
      redis.call('SET', aside(key, args[2], args[3]), bytes, 'EX', args[1])
      redis.call('SET', key, string.sub(now, #bytes + 1), 'KEEPTTL')
      moved = moved + 1
    end
  end
  return moved
end

-- weir_claim_v1: put transactions into the decision index; who was first keeps the id.
-- KEYS: index entries. ARGV: ttl s, claim window ms, then one entry per key.
-- -> place and entry, for every key that another source claimed at most a window before (or after, by append time).
local function claim(keys, args)
  local ttl, window, out = args[1], tonumber(args[2]), {}
  local call, pcall = redis.call, redis.pcall
  for i = 1, #keys do
    local key, entry = keys[i], args[i + 2]
    local old = pcall('SET', key, entry, 'NX', 'GET', 'EX', ttl)
    if old and (type(old) ~= 'string' or #old < FIXED) then
      call('SET', key, entry, 'EX', ttl)
    elseif old and string.sub(old, 5, 12) ~= string.sub(entry, 5, 12) then
      if math.abs(struct.unpack('<i8', entry, 13) - struct.unpack('<i8', old, 13)) <= window then
        out[#out + 1] = i
        out[#out + 1] = old
      else
        call('SET', key, entry, 'EX', ttl)
      end
    end
  end
  return out
end

-- weir_answer_v1: note the first answers of claimed transactions.
-- KEYS: index entries. ARGV per key: source (8 bytes), answer (16 bytes). -> number noted.
local function answer(keys, args)
  local noted = 0
  for i = 1, #keys do
    local key = keys[i]
    local head = redis.pcall('GETRANGE', key, 4, 28)
    if type(head) == 'string' and #head == 25 and string.sub(head, 1, 8) == args[2 * i - 1] and (string.byte(head, 25) == 0 or string.byte(head, 25) == APPLIED) then
      redis.call('SETRANGE', key, 28, args[2 * i])
      noted = noted + 1
    end
  end
  return noted
end

-- Place of the first label in an entry: after the fixed part and four ids, each with its length before it.
local function labels_start(entry)
  local place = FIXED + 1
  for _ = 1, 4 do place = place + 2 + struct.unpack('<I2', entry, place) end
  return place
end

-- The value in force: that of the latest label by (label time, offset); 0 without one.
local function in_force(labels)
  local best
  for _, label in ipairs(labels) do
    if not best or label.time > best.time or (label.time == best.time and label.offset > best.offset) then best = label end
  end
  return best and best.value or 0, best
end

-- weir_label_v1: note a label in its transaction's entry; the same label gives the same change again.
-- KEYS: index entries. ARGV per key: source (8 bytes), label time ms (8 bytes), value (0 or 1).
-- -> per key: false (unknown transaction) or {entry, change} with change -1, 0 or 1; 2: not noted, since the label is not
-- later than its event.
local function label(keys, args)
  local out = {}
  for i = 1, #keys do
    local source, time, value = args[3 * i - 2], args[3 * i - 1], tonumber(args[3 * i])
    local entry = redis.pcall('GET', keys[i])
    if type(entry) ~= 'string' or #entry < FIXED + 8 or string.byte(entry, 1) ~= 1 or string.byte(entry, 29) == 0 then
      out[i] = false
    elseif struct.unpack('<i8', time) <= struct.unpack('<i8', entry, 21) then
      out[i] = {entry, 2}
    else
      local first, labels, known = labels_start(entry), {}, nil
      for place = first, #entry - LABEL + 1, LABEL do
        local found = {
          source = string.sub(entry, place, place + 7), time = struct.unpack('<i8', entry, place + 8),
          offset = struct.unpack('<I6', entry, place), value = string.byte(entry, place + 16), bytes = string.sub(entry, place, place + 23),
          change = string.byte(entry, place + 17) - 1,
        }
        if found.source == source then known = found end
        labels[#labels + 1] = found
      end
      if known then
        out[i] = {entry, known.change}
      else
        local before, latest = in_force(labels)
        if #labels == MOST_LABELS then
          for place, old in ipairs(labels) do
            if old ~= latest then table.remove(labels, place) break end
          end
        end
        local new = {source = source, time = struct.unpack('<i8', time), offset = struct.unpack('<I6', source), value = value}
        labels[#labels + 1] = new
        local change = in_force(labels) - before
        new.bytes = source .. time .. string.char(value, change + 1) .. string.rep('\0', 6)
        local parts = {string.sub(entry, 1, first - 1)}
        for _, each in ipairs(labels) do parts[#parts + 1] = each.bytes end
        redis.call('SET', keys[i], table.concat(parts), 'KEEPTTL')
        out[i] = {entry, change}
      end
    end
  end
  return out
end

-- weir_source_v1: return the ids of sources (or releases), registering new ones; ids are never used again.
-- KEYS: a hash. ARGV: first id, fields. -> ids.
local function source(keys, args)
  local ids = {}
  for i = 2, #args do
    local id = redis.call('HGET', keys[1], args[i])
    if not id then
      local next_id = redis.call('HINCRBY', keys[1], 'registered', 1) + tonumber(args[1]) - 1
      redis.call('HSET', keys[1], args[i], next_id)
      id = next_id
    end
    ids[#ids + 1] = tonumber(id)
  end
  return ids
end

redis.register_function('weir_begin_anew_v1', begin_anew)
redis.register_function('weir_checkpoint_v1', checkpoint)
redis.register_function('weir_set_aside_v1', set_aside)
redis.register_function('weir_claim_v1', claim)
redis.register_function('weir_answer_v1', answer)
redis.register_function('weir_label_v1', label)
redis.register_function('weir_source_v1', source)
