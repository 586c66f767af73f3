// @ts-check
// A page's end of the updates: which topics its elements show and how far they are, and what is to be drawn. What comes
// while nobody looks waits; of each topic the newest is drawn when the page is looked at again.

import { join } from "./joining.js";
import { covers, meet, positionOf, textOf } from "./position.js";

/** @typedef {import("./position.js").Position} Position */
/**
 * @typedef {object} Shower an element that shows a topic
 * @property {string} topic
 * @property {Position | null} position as of which the server has drawn it
 * @property {boolean} isBusy somebody is in the middle of typing a character
 * @property {(data: any) => void} showValue
 * @property {(event: string) => void} showState
 * @property {(connection: string) => void} showConnection
 * @property {() => void} startOver
 */

/** @typedef {{ isReset: boolean, update: any, state: string }} Waiting of one topic: begin anew, then its value, then its state */

const SETTLE_MS = 20; // elements that come and go together are one change
const BUSY_MS = 100; // somebody is in the middle of a character: look again after this

export class Feed {
  /** @type {Map<string, Set<Shower>>} */
  #showers = new Map();
  /** @type {Map<string, Position | null>} */
  #positions = new Map();
  /** @type {Map<string, Waiting>} */
  #waiting = new Map();
  /** @type {ReturnType<typeof join> | null} */
  #way = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #settling;
  #connection = "";
  #nWants = 0;
  #isDrawing = false;

  /**
   * @param {string} url
   * @param {any} policy
   */
  constructor(url, policy) {
    this.url = url;
    this.policy = policy;
    document.addEventListener("visibilitychange", () => this.#looked());
    addEventListener("online", () => this.#way?.say({ wake: true }));
    addEventListener("pagehide", () => this.#leave());
    addEventListener("pageshow", (event) => event.persisted && this.#settle());
  }

  /** @param {Shower} shower */
  add(shower) {
    const showers = this.#showers.get(shower.topic) ?? new Set();
    const known = this.#positions.get(shower.topic);
    const isOlder = showers.size > 0 && !covers(shower.position, known ?? null);
    this.#positions.set(shower.topic, isOlder ? meet(known ?? null, shower.position) : (known ?? shower.position));
    this.#showers.set(shower.topic, showers.add(shower));
    if (this.#connection) shower.showConnection(this.#connection);
    this.#settle();
  }

  /** @param {Shower} shower */
  remove(shower) {
    const showers = this.#showers.get(shower.topic);
    if (!showers?.delete(shower) || showers.size) return;
    this.#showers.delete(shower.topic);
    this.#positions.delete(shower.topic);
    this.#settle();
  }

  // What the hub says from here on of how far topics are, it says of what was wanted before.
  #settle() {
    this.#nWants += 1;
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#want(), SETTLE_MS);
  }

  #want() {
    if (!this.#way && !this.#showers.size) return;
    const { url, policy } = this;
    this.#way ??= join({ url, policy, receive: (message) => this.#receive(message), ask: () => this.#settle() });
    const topics = Object.fromEntries([...this.#positions].map(([topic, position]) => [topic, textOf(position)]));
    this.#way.say({ wants: { n: this.#nWants, topics, isVisible: !document.hidden } });
  }

  // A page in the back-forward cache must hold nothing open; it joins again, from where it is, when it is shown.
  #leave() {
    clearTimeout(this.#settling);
    this.#way?.leave();
    this.#way = null;
  }

  #looked() {
    if (!this.#way) return;
    this.#want();
    if (!document.hidden) this.#way.say({ wake: true });
    this.#drawSoon();
  }

  /** @param {any} message */
  #receive({ event, data, position, reached, topics, connection, heard }) {
    if (connection) {
      this.#connection = connection;
      for (const shower of this.#all([...this.#showers.keys()])) shower.showConnection(connection);
    }
    const isHeard = heard === this.#nWants;
    if (reached && isHeard) this.#reach(topics, positionOf(reached));
    if (!event) return;
    const told = data.topics ?? [data.topic];
    if (event === "revoked") for (const topic of told) this.#positions.delete(topic);
    else if (position && isHeard) this.#reach(told, positionOf(position));
    for (const topic of told) if (this.#showers.has(topic)) this.#wait(topic, event, data);
    this.#drawSoon();
  }

  /**
   * Keep of each topic the newest, however long nobody looks.
   * @param {string} topic
   * @param {string} event
   * @param {any} data
   */
  #wait(topic, event, data) {
    const waiting = this.#waiting.get(topic) ?? { isReset: false, update: null, state: "" };
    if (event === "reset") this.#waiting.set(topic, { isReset: true, update: null, state: "" });
    else if (event !== "update") this.#waiting.set(topic, { ...waiting, state: event });
    else if (!waiting.update || data.version >= waiting.update.version) {
      this.#waiting.set(topic, { ...waiting, update: data, state: "" });
    }
  }

  /**
   * @param {string[]} topics
   * @param {Position | null} position
   */
  #reach(topics, position) {
    for (const topic of topics) if (this.#positions.has(topic)) this.#positions.set(topic, position);
  }

  #drawSoon() {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    requestAnimationFrame(() => {
      this.#isDrawing = false;
      if (!document.hidden) this.#draw();
    });
  }

  #draw() {
    for (const [topic, waiting] of [...this.#waiting]) {
      const showers = this.#all([topic]);
      if (showers.some((shower) => shower.isBusy)) continue;
      this.#waiting.delete(topic);
      for (const shower of showers) show(shower, waiting);
    }
    if (this.#waiting.size) setTimeout(() => this.#drawSoon(), BUSY_MS);
  }

  /**
   * @param {string[]} topics
   * @returns {Shower[]}
   */
  #all(topics) {
    return topics.flatMap((topic) => [...(this.#showers.get(topic) ?? [])]);
  }
}

/**
 * @param {Shower} shower
 * @param {Waiting} waiting
 */
function show(shower, { isReset, update, state }) {
  if (isReset) shower.startOver();
  if (update) shower.showValue(update);
  if (state) shower.showState(state);
}
