-- following: who follows the feed, and how far each has told of it.
-- needs: tables
--
-- Rules
-- - A follower holds a subscription lease, by the server's clock also where a test has its own, as those who follow do
--   not know that one. It renews the lease each time that it passes on how far it has told its listeners. A follower
--   whose lease has run out uses nothing that it holds near; nobody waits for it.
-- - Who wants an event acknowledged waits until each live follower has passed the event's position.
-- - A new life of the store knows no follower, while those of the old one may hold a lease for a moment: as long as one
--   may still run, it counts as behind.
-- - One that has to start over has not done so before its next call, and counts as behind till then.
-- - Since when all are listed here stands in the list itself. One that was lost begins anew when somebody asks who is
--   behind: as long as a lease may still run that was in the old one, it counts as behind.
-- P..w is a sorted set of followers by the end of their lease, with an endless one whose name is the time since when it
-- is whole; P..wp is a hash of how far each has come.
local following = {}

-- Followers that ended without a word are forgotten a few at a time.
local N_FORGOTTEN = 16

local function _forget(now)
    local gone = call('ZRANGE', P .. 'w', '-inf', '(' .. string.format('%.6f', now), 'BYSCORE', 'LIMIT', 0, N_FORGOTTEN)
    if #gone > 0 then
        call('ZREM', P .. 'w', unpack(gone))
        call('HDEL', P .. 'wp', unpack(gone))
    end
end

function following.follow(request)
    tables.check_feed()
    local counters, now = tables.counters, tables.server_time()
    local is_known = request.epoch == counters.epoch
        and counters.feed_floor <= request.sequence and request.sequence <= counters.sequence
    if request.epoch == counters.epoch and request.sequence > counters.sequence then
        tables.lose("its last writes")
    end
    local told = is_known and request.sequence or counters.sequence
    local last, records = told, {}
    if is_known then
        records = tables.since(told, request.n_max)
        last = counters.sequence
        if #records == request.n_max then last = records[#records][1] end
    end
    _forget(now)
    call('ZADD', P .. 'w', string.format('%.6f', now + request.lease_s), request.id)
    -- One that is told to start over has not done so yet.
    call('HSET', P .. 'wp', request.id, is_known and string.format('%s.%.0f', counters.epoch, told) or '')
    return { records, counters.epoch, last, not is_known }
end

-- Since when all who follow are listed.
local function _whole_since(now)
    local since = call('ZRANGE', P .. 'w', '+inf', '+inf', 'BYSCORE')[1]
    local at = since and tonumber(since)
    if at and at <= now then return at end
    -- It was lost, or the clock was put back.
    if since then call('ZREM', P .. 'w', since) end
    call('ZADD', P .. 'w', '+inf', string.format('%.6f', now))
    return now
end

-- Until when the follower may use what it holds. A lease that is longer than any was given before the clock was put back.
local function _ends_at(follower, score, now)
    local longest = now + CONST.SUBSCRIPTION_LEASE_S
    if tonumber(score) <= longest then return tonumber(score) end
    call('ZADD', P .. 'w', string.format('%.6f', longest), follower)
    return longest
end

-- For how many seconds at most some follower may still use what is older than the position; 0 when none may.
function following.behind(request)
    local counters, now = tables.counters, tables.server_time()
    local since = _whole_since(now)
    if counters.born_at <= now then since = math.max(since, counters.born_at) end
    local left_s = math.max(0, since + CONST.SUBSCRIPTION_LEASE_S - now)
    -- Followers hear of records, and an event that left none has outdated nothing that anybody holds.
    local newest = call('XREVRANGE', P .. 'x', string.format('%.0f-0', request.sequence), '-', 'COUNT', 1)[1]
    local needed = newest and tonumber(newest[1]:match('^%d+')) or counters.feed_floor
    local live = call('ZRANGE', P .. 'w', string.format('%.6f', now), '(+inf', 'BYSCORE', 'WITHSCORES')
    for i = 1, #live, 2 do
        local passed = call('HGET', P .. 'wp', live[i]) or ''
        local epoch, sequence = passed:match('^(.*)%.(%d+)$')
        -- Who has started over since a new life began has let go of all that is older, whatever it was.
        if epoch ~= counters.epoch or (request.epoch == counters.epoch and tonumber(sequence) < needed) then
            left_s = math.max(left_s, _ends_at(live[i], live[i + 1], now) - now)
        end
    end
    return left_s
end
