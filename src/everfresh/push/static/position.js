// @ts-check
// Positions, as the server writes them: `epoch.sequence`, one such part for each shard, joined by `-`.
// A position is a Map of epoch -> sequence here; null stands for "nothing is known to be shown".

/** @typedef {Map<string, number>} Position */

/**
 * The position that a text writes, or null: it writes none.
 * @param {string | null | undefined} text
 * @returns {Position | null}
 */
export function positionOf(text) {
  if (!text) return null;
  const position = new Map();
  for (const part of text.split("-")) {
    const found = /^([0-9a-z]{1,64})\.(\d{1,18})$/.exec(part);
    if (!found) return null;
    position.set(found[1], Number(found[2]));
  }
  return position;
}

/**
 * The position as text. Nobody can read the text of null, so the server answers it with `reset` and whole states.
 * @param {Position | null} position
 */
export function textOf(position) {
  return position ? [...position].map(([epoch, sequence]) => `${epoch}.${sequence}`).join("-") : "0";
}

/**
 * Whether whoever has everything up to `own` has everything up to `other`.
 * @param {Position | null} own
 * @param {Position | null} other
 */
export function covers(own, other) {
  if (!own || !other) return false;
  return [...other].every(([epoch, sequence]) => (own.get(epoch) ?? -1) >= sequence);
}

/**
 * The newest position that both have reached, or null: they have nothing in common.
 * @param {Position | null} one
 * @param {Position | null} other
 * @returns {Position | null}
 */
export function meet(one, other) {
  if (!one || !other) return null;
  const common = [...one].filter(([epoch]) => other.has(epoch));
  if (!common.length) return null;
  return new Map(common.map(([epoch, sequence]) => [epoch, Math.min(sequence, other.get(epoch) ?? 0)]));
}

/**
 * Where a client is that was at `old` and has now reached `reached`, which may speak of one shard only.
 * @param {Position | null} old
 * @param {Position} reached
 * @returns {Position}
 */
export function advanced(old, reached) {
  const position = new Map(old ?? []);
  for (const [epoch, sequence] of reached) position.set(epoch, Math.max(sequence, position.get(epoch) ?? 0));
  return position;
}
