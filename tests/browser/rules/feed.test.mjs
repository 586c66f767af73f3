// What a page's end of the updates decides: when to draw, and which claims of the hub to believe.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Feed } from "../../../src/everfresh/push/static/feed.js";
import { positionOf } from "../../../src/everfresh/push/static/position.js";
import { begin, newest, pass } from "./faked.mjs";

const listeners = new Map();
let feed;

beforeEach(() => {
  begin();
  const addEventListener = (name, listener) => listeners.set(name, listener);
  const requestAnimationFrame = (draw) => setTimeout(draw, 0);
  Object.assign(globalThis, { document: { hidden: false, addEventListener }, addEventListener, requestAnimationFrame });
  feed = new Feed("/updates", null);
});

class Shower {
  isBusy = false;
  shown = [];

  constructor(topic, position) {
    this.topic = topic;
    this.position = positionOf(position);
    feed.add(this);
  }

  showValue({ version }) {
    this.shown.push(version);
  }

  showState(state) {
    this.shown.push(state);
  }

  showConnection(connection) {
    this.connection = connection;
  }

  startOver() {
    this.shown.push("reset");
  }
}

async function opened(topic = "a") {
  const shower = new Shower(topic, "e.5");
  await pass(40);
  newest().tell("hello", {}, "e.5");
  return shower;
}

const update = (version, topic = "a") => ["update", { topic, version }];

function look(isHidden) {
  document.hidden = isHidden;
  listeners.get("visibilitychange")();
}

test("a topic that was added while a claim was on its way is not covered by it", async () => {
  await opened();

  new Shower("b", "e.2");
  newest().tell("heartbeat", {}, "e.9");
  await pass(40);
  assert.equal(newest().cursor, "e.2");
});

test("an older element of a topic takes the topic back", async () => {
  await opened();
  newest().tell("heartbeat", {}, "e.9");

  new Shower("a", "e.3");
  newest().tell("heartbeat", {}, "e.10");
  await pass(40);

  assert.equal(newest().cursor, "e.3");
});

test("of several values the newest is drawn, and what was said of its state after it", async () => {
  const shower = await opened();

  for (const [event, data] of [update(2), ["stale", { topic: "a" }], update(3), ["failed", { topic: "a" }]]) {
    newest().tell(event, data);
  }
  await pass(20);

  assert.deepEqual(shower.shown.slice(-2), [3, "failed"]);
  assert.ok(!shower.shown.includes(2));
});

test("while nobody looks nothing is drawn, and then the newest", async () => {
  const shower = await opened();
  look(true);
  newest().tell(...update(2));
  newest().tell(...update(3));
  await pass(1000);
  assert.deepEqual(shower.shown, []);

  look(false);
  await pass(20);
  assert.deepEqual(shower.shown, [3]);
});

test("what waits is merged: a value takes older words of state along, a reset takes everything", async () => {
  const shower = await opened();
  const told = async (...frames) => {
    shower.shown = [];
    look(true);
    for (const frame of frames) newest().tell(...frame);
    look(false);
    await pass(20);
    return shower.shown;
  };

  assert.deepEqual(await told(["stale", { topic: "a" }], update(2)), [2]);
  assert.deepEqual(await told(update(4), update(3)), [4]);
  assert.deepEqual(await told(update(9), ["reset", {}, "reset"], ["stale", { topic: "a" }]), ["reset", "stale"]);
});

test("while somebody composes a character nothing is drawn in that place", async () => {
  const [busy, other] = [await opened(), new Shower("b", "e.5")];
  await pass(40);
  newest().tell("hello", {}, "e.5");
  busy.isBusy = true;
  newest().tell(...update(2));
  newest().tell(...update(2, "b"));
  await pass(300);
  assert.deepEqual([busy.shown, other.shown], [[], [2]]);

  busy.isBusy = false;
  newest().tell(...update(3));
  await pass(300);
  assert.deepEqual(busy.shown.at(-1), 3);
});

test("what follows a reset waits with it, in the place where somebody composes, and nowhere else", async () => {
  const [busy, other] = [await opened(), new Shower("b", "e.5")];
  await pass(40);
  newest().tell("hello", {}, "e.5");
  busy.isBusy = true;
  newest().tell("reset", {}, "reset");
  newest().tell(...update(1));
  newest().tell(...update(1, "b"));
  await pass(300);
  assert.deepEqual([busy.shown, other.shown], [[], ["reset", 1]]);

  busy.isBusy = false;
  await pass(300);
  assert.deepEqual(busy.shown, ["reset", 1]);
});

test("a reset comes before the values that follow it", async () => {
  const shower = await opened();

  newest().tell("reset", {}, "reset");
  newest().tell(...update(1));
  await pass(20);

  assert.deepEqual(shower.shown, ["reset", 1]);
});

test("a page that is left holds nothing open, and one that is shown again begins where it was", async () => {
  await opened();
  newest().tell(...update(2), "e.8");

  listeners.get("pagehide")();
  await pass(20);
  assert.equal(newest().readyState, 2);

  listeners.get("pageshow")({ persisted: true });
  await pass(40);
  assert.equal(newest().cursor, "e.8");
  assert.equal(newest().readyState, 0);
});

test("an element that comes later knows how the connection is", async () => {
  const first = await opened();
  const later = new Shower("a", "e.5");

  assert.deepEqual([first.connection, later.connection], ["live", "live"]);
});
