// A browser for the hub and its streams: its event sources, answers and clock are the test's.

import { mock } from "node:test";

export const sources = [];
export const asked = [];
export const answers = [];

class FakeSource extends EventTarget {
  CLOSED = 2;
  readyState = 0;

  constructor(address) {
    super();
    this.query = new URL(address, "http://here").searchParams;
    sources.push(this);
  }

  get topics() {
    return this.query.getAll("topic").sort();
  }

  get cursor() {
    return this.query.get("last_event_id");
  }

  close() {
    this.readyState = this.CLOSED;
  }

  tell(event, data, lastEventId = "") {
    this.dispatchEvent(Object.assign(new Event(event), { data: JSON.stringify(data), lastEventId }));
  }

  fail() {
    this.dispatchEvent(new Event("error"));
  }
}

async function fakeFetch(address) {
  asked.push(new URL(address, "http://here").searchParams);
  const answer = await answers.shift();
  if (!answer) throw new TypeError("no network");
  return new Response(JSON.stringify(answer.body ?? {}), { status: answer.status ?? 200, headers: answer.headers });
}

/** Begin anew, with a clock that stands still and dice that show a half. */
export function begin() {
  sources.length = asked.length = answers.length = 0;
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  mock.method(Math, "random", () => 0.5);
  Object.assign(globalThis, { EventSource: FakeSource, fetch: fakeFetch });
  Object.defineProperty(globalThis, "navigator", { value: { onLine: true }, configurable: true });
}

/** Let time pass, and whatever waits for it happen. */
export async function pass(ms) {
  for (let left = ms; left >= 0; left -= 10) {
    await settled();
    mock.timers.tick(Math.min(left, 10));
    if (!left) break;
  }
  await settled();
}

// Whatever promises wait for one another is done before the loop's next turn.
async function settled() {
  await new Promise((resolve) => setImmediate(resolve));
}

export const newest = () => sources.at(-1);
