-- How far each source has come.
-- needs: tables_saving
--
-- P..offset:<source> is the source's own text. P..sources is the set of the names of all that ever said something.
--
-- Rules
-- - An offset is written with the rows and the counters, by the last command of its step: where a step breaks off, it
--   does not stand for events that were applied in part.

-- Have these stand when the step ends; pairs of a source and its text.
function tables.set_offsets(offsets)
  for _, pair in ipairs(offsets) do
    tables.know_source(pair[1])
    _set_last(P .. "offset:" .. pair[1], pair[2])
  end
end

function tables.know_source(source)
  call("SADD", P .. "sources", source)
end
