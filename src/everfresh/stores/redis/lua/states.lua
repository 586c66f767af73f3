-- The states of an entry as a table; follows protocol/states.py, whose table comes in as CONST.TRANSITIONS.
-- needs:
--
-- Rules
-- - A step that is not in the table is a bug in the store, and `next_state` says so.
local states = {}

-- The state after the step.
function states.next_state(state, step)
  local after = CONST.TRANSITIONS[state][step]
  if after == nil then
    error("the step " .. step .. " cannot happen in the state " .. state)
  end
  return after
end
