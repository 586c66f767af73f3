// What the hub and its streams decide, without a browser.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Hub } from "../../../src/everfresh/push/static/hub.js";
import { answers, asked, begin, newest, pass, sources } from "./faked.mjs";

let hub;
let told;

beforeEach(() => {
  begin();
  hub = new Hub("/updates");
  told = [];
});

function wants(id, topics, { isVisible = true, n = 1 } = {}) {
  hub.hear(id, { wants: { n, topics, isVisible } }, (message) => told.push([id, message]));
}

const events = (id) => told.filter(([to, { event }]) => to === id && event).map(([, { event, data }]) => [event, data.topic]);

async function opened(topics = { a: "e.5" }) {
  wants("one", topics);
  await pass(20);
  newest().tell("hello", { retry_ms: 1000, heartbeat_s: 20, max_topics: 3 }, Object.values(topics)[0]);
}

test("topics of all tabs go on one stream, from where the oldest stands", async () => {
  wants("one", { a: "e.7" });
  wants("two", { b: "e.5" });
  await pass(20);

  assert.equal(sources.length, 1);
  assert.deepEqual(newest().topics, ["a", "b"]);
  assert.equal(newest().cursor, "e.5");
});

test("a tab that comes later is told what was told, if it is not older than the stream", async () => {
  await opened();
  newest().tell("update", { topic: "a", version: 2 }, "e.6");
  newest().tell("stale", { topic: "a", version: 2 });

  wants("two", { a: "e.5" });
  await pass(20);

  assert.deepEqual(events("two"), [["update", "a"], ["stale", "a"]]);
  assert.equal(sources.length, 1);
});

test("a tab that is older than the stream takes it back", async () => {
  await opened();

  wants("two", { a: "e.4" });
  await pass(20);

  assert.equal(newest().cursor, "e.4");
  assert.equal(sources[0].readyState, 2);
});

test("a page of another life of the store, or of none, asks for everything", async () => {
  await opened();

  wants("two", { b: "f.1" });
  await pass(20);

  assert.equal(newest().cursor, "0");
});

test("what an old stream says after a topic was added is not heard: its claim leaves the topic out", async () => {
  await opened();
  const old = newest();

  wants("two", { b: "e.3" });
  old.tell("heartbeat", {}, "e.9");
  await pass(20);

  assert.equal(newest().cursor, "e.3");
});

test("a frame of one shard leaves the others where they were", async () => {
  await opened({ a: "e.5-f.8" });
  newest().tell("update", { topic: "a", version: 2 }, "f.9");
  newest().fail();
  await pass(600);

  assert.equal(newest().cursor, "e.5-f.9");
});

test("after a reset nothing is known until a frame says so", async () => {
  await opened();
  newest().tell("reset", {}, "reset");
  newest().fail();
  await pass(600);
  assert.equal(newest().cursor, "0");

  newest().tell("hello", {});
  newest().tell("update", { topic: "a", version: 1 }, "g.1");
  newest().fail();
  await pass(2000);
  assert.equal(newest().cursor, "g.1");
});

test("after a reset nothing of the former life is told from memory", async () => {
  await opened();
  newest().tell("update", { topic: "a", version: 7 }, "e.6");
  newest().tell("reset", {}, "reset");

  wants("two", { a: "e.6" });
  await pass(20);
  assert.equal(newest().cursor, "0");
  newest().tell("hello", {});
  newest().tell("stale", { topic: "a", version: 0, state: "dropped" });
  newest().tell("heartbeat", {}, "g.3");

  wants("three", { a: "g.3" });
  await pass(20);
  assert.equal(newest().cursor, "g.3");
  newest().tell("hello", {}, "g.3");

  wants("four", { a: "g.3" });
  assert.deepEqual(events("four"), [["stale", "a"]]);
});

test("a topic may be called like anything that objects have", async () => {
  await opened({ constructor: "e.5" });
  newest().tell("update", { topic: "constructor", version: 2 }, "e.6");

  wants("two", { constructor: "e.5" });
  wants("three", { b: "e.5" });
  newest().tell("update", { topic: "constructor", version: 3 }, "e.7");
  await pass(20);

  assert.deepEqual(events("two"), [["update", "constructor"]]);
  assert.deepEqual(events("three"), []);
});

test("a tab that says again what it wants is not told again", async () => {
  await opened();
  newest().tell("update", { topic: "a", version: 2 }, "e.6");
  told = [];

  wants("one", { a: "e.6" }, { n: 2 });

  assert.deepEqual(events("one"), []);
});

test("a stream goes on when one of its topics is revoked, and nobody is told of that any more", async () => {
  await opened({ a: "e.5", b: "e.5" });
  newest().tell("revoked", { topics: ["a"] });
  await pass(20);
  assert.equal(sources.length, 1);

  newest().fail();
  await pass(600);
  assert.deepEqual(newest().topics, ["b"]);
});

test("more topics than a stream takes go on another", async () => {
  await opened({ a: "e.5", b: "e.5", c: "e.5" });

  wants("two", { d: "e.5" });
  await pass(20);

  assert.deepEqual(newest().topics, ["d"]);
  assert.equal(sources[0].readyState, 0);
});

test("topics whose names fill an address go on another stream", async () => {
  const names = [..."abcdefghi"].map((letter) => letter.repeat(500));
  wants("one", Object.fromEntries(names.map((name) => [name, "e.5"])));
  await pass(20);

  assert.deepEqual(sources.map(({ topics }) => topics.length), [7, 2]);
});

test("a tab that leaves takes its topics along, after a moment for the page that follows", async () => {
  await opened();
  wants("two", { b: "e.5" });
  await pass(20);

  hub.hear("two", { leave: true });
  await pass(1900);
  assert.deepEqual(newest().topics, ["a", "b"]);

  await pass(200);
  assert.deepEqual(newest().topics, ["a"]);
});

test("a stream that nobody looks at is closed after a minute, and goes on where it was", async () => {
  await opened();
  newest().tell("update", { topic: "a", version: 2 }, "e.8");
  wants("one", { a: "e.8" }, { isVisible: false, n: 2 });
  newest().tell("heartbeat", {});
  await pass(20_000);
  newest().tell("heartbeat", {});
  await pass(39_000);
  assert.equal(newest().readyState, 0);

  await pass(2000);
  assert.equal(newest().readyState, 2);
  assert.equal(sources.length, 1);

  wants("one", { a: "e.8" }, { n: 3 });
  await pass(20);
  assert.equal(newest().cursor, "e.8");
});

test("a stream that is silent for two and a half heartbeats is dead", async () => {
  await opened();
  await pass(49_900);
  assert.equal(newest().readyState, 0);

  await pass(200);
  assert.equal(sources[0].readyState, 2);
});

test("a goodbye is answered after the time that it names, an end without one within it", async () => {
  await opened();
  newest().tell("bye", { retry_ms: 4000 });
  await pass(3900);
  assert.equal(sources.length, 1);
  await pass(200);
  assert.equal(sources.length, 2);

  newest().tell("hello", { retry_ms: 1000 });
  newest().fail();
  await pass(600);
  assert.equal(sources.length, 3);
});

test("whoever looks again does not wait", async () => {
  await opened();
  newest().tell("bye", { retry_ms: 4000 });
  await pass(100);

  hub.hear("one", { wake: true });
  await pass(20);

  assert.equal(sources.length, 2);
});

test("a stream without a hello is held back by somebody: the hub asks instead", async () => {
  wants("one", { a: "e.5" });
  answers.push({ body: { cursor: "e.6", events: [{ event: "update", data: { topic: "a", version: 2 } }], retry_ms: 5000 } });
  await pass(10_100);

  assert.equal(asked[0].get("since"), "e.5");
  assert.deepEqual(events("one"), [["update", "a"]]);
  assert.equal(told.at(-1)[1].reached, "e.6");
});

test("an answer that was on its way when a topic was added is not heard", async () => {
  wants("one", { a: "e.5" });
  await pass(20);
  let answer;
  answers.push(new Promise((resolve) => (answer = resolve)));
  newest().fail();
  await pass(20);

  wants("two", { b: "e.3" });
  answer({ body: { cursor: "e.9", events: [], retry_ms: 5000 } });
  await pass(40);

  assert.equal(newest().cursor, "e.3");
  assert.deepEqual(newest().topics, ["a", "b"]);
});

test("who is told to come back later does so", async () => {
  wants("one", { a: "e.5" });
  await pass(20);
  answers.push({ status: 429, headers: { "retry-after": "8" } });
  newest().fail();

  await pass(9000);
  assert.equal(sources.length, 1);

  await pass(1200);
  assert.equal(sources.length, 2);
});

test("without an answer of any kind the pauses grow, to a minute and no more", async () => {
  wants("one", { a: "e.5" });
  const begun = [];
  for (let n = 0; n < 8; n += 1) {
    await pass(20);
    while (newest().readyState === 2) await pass(100);
    begun.push(Date.now());
    newest().fail();
  }

  const pauses = begun.slice(1).map((at, n) => Math.round((at - begun[n]) / 1000));
  assert.deepEqual(pauses, [2, 3, 6, 12, 24, 45, 45]);

  await pass(20);
  while (newest().readyState === 2) await pass(100);
  newest().tell("hello", { retry_ms: 1000 });
  newest().fail();
  await pass(520);
  const n = sources.length;
  newest().fail();
  await pass(1600);
  assert.equal(sources.length, n + 1);
});

test("a refusal by the application ends it, one by a proxy does not", async () => {
  wants("one", { a: "e.5" });
  await pass(20);
  answers.push({ status: 404, headers: { "content-type": "text/html" } });
  newest().fail();
  await pass(2000);
  assert.equal(sources.length, 2);

  answers.push({ status: 403, headers: { "content-type": "application/problem+json" } });
  newest().fail();
  await pass(120_000);
  assert.equal(sources.length, 2);
  assert.deepEqual(told.find(([, { event }]) => event === "revoked")[1].data.topics, ["a"]);
});

test("one topic that nobody knows costs that topic alone", async () => {
  wants("one", { a: "e.5", gone: "e.5", b: "e.5" });
  await pass(20);
  const unknown = { status: 404, headers: { "content-type": "application/problem+json" } };
  answers.push(unknown, { body: {} }, unknown, { body: {} });
  newest().fail();
  await pass(2000);

  assert.deepEqual(asked.slice(1).map((query) => query.getAll("topic")), [["a"], ["gone"], ["b"]]);
  assert.deepEqual(told.filter(([, { event }]) => event === "revoked").map(([, { data }]) => data.topics), [["gone"]]);
  assert.deepEqual(newest().topics, ["a", "b"]);
});

test("a message says which wants it knew of", async () => {
  await opened();
  wants("one", { a: "e.5", b: "e.2" }, { n: 7 });

  assert.equal(told.at(-1)[1].heard, 7);
});
