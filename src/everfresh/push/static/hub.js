// @ts-check
// The place where all that the tabs of one browser want comes together, and what the streams tell is handed out. It
// stands in a shared worker, in the tab that the others have elected, or in the only tab there is.
//
// A tab that comes later is told what was told before, from memory, if its page is not older than that memory; else the
// stream is asked from where the page stands.

import { covers, positionOf, textOf } from "./position.js";
import { Stream } from "./stream.js";

/** @typedef {import("./position.js").Position} Position */
/** @typedef {{ n: number, topics: Record<string, string>, isVisible: boolean }} Wants by topic: the position that is shown */
/** @typedef {{ tell: (message: any) => void, wants: Wants }} Member */
/** @typedef {{ since: Position | null, told: Map<string, any>, stream: Stream }} Followed */

const LINGER_MS = 2000; // a page that follows another usually wants the same
const HIDDEN_MS = 60_000; // nobody looks for this long: the connection is worth more than the time to open it again
const PULSE_MS = 30_000;
const WORST_FIRST = ["offline", "reconnecting", "polling", "live"];

export class Hub {
  /** @type {Map<string, Member>} */
  #members = new Map();
  /** @type {Map<string, Followed>} */
  #followed = new Map();
  /** @type {Set<Stream>} */
  #streams = new Set();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pruning;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pausing;

  /** @param {string} url */
  constructor(url) {
    this.url = url;
    this.pulse = setInterval(() => this.#tellAll({ pulse: true }), PULSE_MS);
  }

  /**
   * What a tab says: what it wants now, that it is looked at, or that it leaves.
   * @param {string} id
   * @param {any} message
   * @param {(message: any) => void} tell
   */
  hear(id, message, tell) {
    if (message.leave) this.#members.delete(id);
    if (message.wants) {
      const before = this.#members.get(id)?.wants.topics ?? {};
      const member = { tell, wants: message.wants };
      this.#members.set(id, member);
      this.#follow(member, before);
    }
    if (message.wake) for (const stream of this.#streams) stream.wake();
    clearTimeout(this.#pruning);
    this.#pruning = setTimeout(() => this.#prune(), LINGER_MS);
    this.#pauseIfHidden();
  }

  close() {
    clearInterval(this.pulse);
    clearTimeout(this.#pruning);
    clearTimeout(this.#pausing);
    for (const stream of this.#streams) stream.close();
  }

  /**
   * @param {Member} member
   * @param {Record<string, string>} before what it has wanted until now
   */
  #follow(member, before) {
    for (const [topic, text] of Object.entries(member.wants.topics)) {
      const known = this.#followed.get(topic);
      const position = positionOf(text);
      if (known && Object.hasOwn(before, topic) && covers(position, positionOf(before[topic]))) continue;
      if (known && covers(position, known.since)) {
        for (const [event, data] of known.told) tell(member, { event, data });
      } else {
        const stream = known?.stream ?? this.#streamWithRoomFor(topic);
        stream.follow(new Map([[topic, position]]));
        this.#followed.set(topic, { since: stream.position, told: known?.told ?? new Map(), stream });
      }
    }
    tell(member, { connection: this.#connection() });
  }

  /** @param {string} topic */
  #streamWithRoomFor(topic) {
    for (const stream of this.#streams) if (stream.hasRoomFor(topic)) return stream;
    /** @type {Stream} */
    const stream = new Stream(this.url, {
      told: (event, data) => this.#told(stream, event, data),
      reached: () => this.#tellAll({ reached: textOf(stream.position), topics: [...stream.topics] }),
      connected: () => this.#tellAll({ connection: this.#connection() }),
    });
    this.#streams.add(stream);
    return stream;
  }

  /**
   * @param {Stream} stream
   * @param {string} event
   * @param {any} data
   */
  #told(stream, event, data) {
    const topics = event === "reset" ? [...stream.topics] : (data.topics ?? [data.topic]);
    for (const topic of topics) {
      if (event === "revoked") this.#forget(topic);
      else this.#remember(topic, event, data);
    }
    const message = { event, data: { ...data, topics }, position: textOf(stream.position) };
    for (const member of this.#members.values()) {
      if (topics.some((/** @type {string} */ topic) => Object.hasOwn(member.wants.topics, topic))) tell(member, message);
      if (event === "revoked") for (const topic of topics) delete member.wants.topics[topic];
    }
  }

  /**
   * Keep the last value of the topic, and what was said of its state after that.
   * @param {string} topic
   * @param {string} event
   * @param {any} data
   */
  #remember(topic, event, data) {
    const known = this.#followed.get(topic);
    if (!known) return;
    if (event === "reset") {
      known.since = null;
      known.told.clear();
      return;
    }
    const value = known.told.get("update");
    known.told.clear();
    if (event !== "update" && value) known.told.set("update", value);
    known.told.set(event, data);
  }

  /** @param {string} topic */
  #forget(topic) {
    this.#followed.get(topic)?.stream.unfollow([topic]);
    this.#followed.delete(topic);
  }

  /** Follow no longer what nobody wants any more. */
  #prune() {
    const wanted = new Set([...this.#members.values()].flatMap(({ wants }) => Object.keys(wants.topics)));
    for (const topic of [...this.#followed.keys()]) if (!wanted.has(topic)) this.#forget(topic);
    for (const stream of [...this.#streams]) {
      if (stream.topics.size) continue;
      stream.close();
      this.#streams.delete(stream);
    }
  }

  #pauseIfHidden() {
    const isVisible = [...this.#members.values()].some(({ wants }) => wants.isVisible);
    clearTimeout(this.#pausing);
    const pause = (/** @type {boolean} */ isPaused) => this.#streams.forEach((stream) => stream.pause(isPaused));
    if (isVisible) pause(false);
    else this.#pausing = setTimeout(() => pause(true), HIDDEN_MS);
  }

  #connection() {
    const found = new Set([...this.#streams].filter(({ topics }) => topics.size).map(({ connection }) => connection));
    return WORST_FIRST.find((connection) => found.has(/** @type {any} */ (connection))) ?? "";
  }

  /** @param {any} message */
  #tellAll(message) {
    for (const member of this.#members.values()) tell(member, message);
  }
}

/**
 * Tell a tab; `heard` says which of its wants were known by then. What the tab has changed since is not spoken of.
 * @param {Member} member
 * @param {any} message
 */
function tell(member, message) {
  member.tell({ ...message, heard: member.wants.n });
}
