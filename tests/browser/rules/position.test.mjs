// Positions of one store or of many shards.

import assert from "node:assert/strict";
import { test } from "node:test";

import { advanced, covers, meet, positionOf, textOf } from "../../../src/everfresh/push/static/position.js";

const met = (one, other) => textOf(meet(positionOf(one), positionOf(other)));

test("a text is read and written as it was", () => {
  for (const text of ["e1.0", "e1.5-f2.17", "0a.999999999999"]) assert.equal(textOf(positionOf(text)), text);
});

test("what is no position is null, and null is written as what no server reads", () => {
  for (const text of ["", null, undefined, "0", "reset", "e1", "e1.", "E1.5", "e1.5-", "e1.5,f1.6"]) {
    assert.equal(positionOf(text), null);
  }
  assert.equal(textOf(null), "0");
});

test("one covers another that is not beyond it in any shard", () => {
  const yes = [["e.5", "e.5"], ["e.6", "e.5"], ["e.5-f.3", "f.3"]];
  const no = [["e.4", "e.5"], ["f.5", "e.5"], ["e.5", "e.5-f.1"], ["", "e.5"], ["e.5", ""]];
  for (const [one, other] of yes) assert.equal(covers(positionOf(one), positionOf(other)), true);
  for (const [one, other] of no) assert.equal(covers(positionOf(one), positionOf(other)), false);
});

test("two meet at the older of each shard, and of shards that only one speaks of, nothing is known", () => {
  assert.equal(met("e.5", "e.3"), "e.3");
  assert.equal(met("e.5-f.1", "e.3-f.2"), "e.3-f.1");
  assert.equal(met("e.5-f.1", "f.2"), "f.1");
  assert.equal(met("e.5", "f.5"), "0");
  assert.equal(met("e.5", ""), "0");
});

test("a position moves forward only", () => {
  assert.equal(textOf(advanced(positionOf("e.5-f.1"), positionOf("f.4"))), "e.5-f.4");
  assert.equal(textOf(advanced(positionOf("e.5"), positionOf("e.4"))), "e.5");
  assert.equal(textOf(advanced(null, positionOf("e.4"))), "e.4");
});
