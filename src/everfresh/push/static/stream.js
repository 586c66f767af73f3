// @ts-check
// One stream of events from the server, kept open or begun again, whatever happens; where no stream gets through, polling.
//
//   idle ──follow──▶ opening ──hello──▶ live ──bye, lost──▶ waiting ──▶ opening
//                       │
//                       └──refused, silent──▶ polling ──time to try again──▶ opening
//
// Rules:
// 1. `EventSource` gives up for good on any answer but 200, and comes back by itself with the last id alone, which in a
//    store of several shards speaks of one of them. So each of ours is used once and closed at its first error.
// 2. A frame's position claims "everything asked for up to here was sent". Who adds a topic takes the claim back to where
//    that topic stands, and what was on its way for the old claim is not heard any more.
// 3. Frames are whole states: hearing one twice does no harm, so every doubt is settled by asking from further back.

import { advanced, meet, positionOf, textOf } from "./position.js";

/** @typedef {import("./position.js").Position} Position */
/** @typedef {"live" | "reconnecting" | "polling" | "offline"} Connection */
/**
 * @typedef {object} Listener
 * @property {(event: string, data: any) => void} told what happened to topics
 * @property {() => void} reached everything up to `position` was told
 * @property {(connection: Connection) => void} connected how the stream does
 */

const TOLD = ["update", "fresh", "stale", "failed", "reset", "revoked"];
const N_TOPICS_MAX = 100; // what a server takes on one stream, unless its `hello` says otherwise
const ADDRESS_LENGTH_MAX = 4000; // of the topics in it; the common proxies take 8 KiB, with everything else
const HELLO_WITHIN_MS = 10_000; // a proxy that holds the first bytes back for longer than this holds events back too
const HEARTBEAT_S = 20;
const N_HEARTBEATS_MISSED = 2.5; // then the link is dead, whatever the browser thinks
const RETRY_MS = 3000;
const SETTLE_MS = 10; // several tabs that say what they want are one change
const LONGEST_WAIT_MS = 60_000;
const POLL_WITHIN_MS = 15_000;
const N_FAILURES_OFFLINE = 3;
const ASKING = { accept: "application/json" };

/** @typedef {"changed" | "bye" | "lost" | "refused"} End */

export class Stream {
  /** Everything followed is known up to here; null: nothing is. @type {Position | null} */
  position = null;
  /** @type {Set<string>} */
  topics = new Set();
  /** @type {Connection | ""} */
  connection = "";
  nTopicsMax = N_TOPICS_MAX;

  /** @type {(how: "changed" | "woken") => void} */
  #interrupt = () => {};
  #isClosed = false;
  #isPaused = false;
  #isPending = false;
  #nRefused = 0;
  #retryMs = RETRY_MS;
  #quietMs = N_HEARTBEATS_MISSED * HEARTBEAT_S * 1000;

  /**
   * @param {string} url
   * @param {Listener} listener
   */
  constructor(url, listener) {
    this.url = url;
    this.listener = listener;
    void this.#run();
  }

  /**
   * Follow these topics too, from where each of them stands.
   * @param {Map<string, Position | null>} topics
   */
  follow(topics) {
    for (const [topic, position] of topics) {
      this.position = this.topics.size ? meet(this.position, position) : position;
      this.topics.add(topic);
    }
    this.#change();
  }

  /** @param {string} topic */
  hasRoomFor(topic) {
    const length = [...this.topics, topic].reduce((sum, one) => sum + encodeURIComponent(one).length + "&topic=".length, 0);
    return this.topics.size < this.nTopicsMax && length <= ADDRESS_LENGTH_MAX;
  }

  /** @param {Iterable<string>} topics */
  unfollow(topics) {
    let isChanged = false;
    for (const topic of topics) isChanged = this.topics.delete(topic) || isChanged;
    if (isChanged) this.#change();
  }

  /** Try again now, if it waits. */
  wake() {
    this.#interrupt("woken");
  }

  /** @param {boolean} isPaused */
  pause(isPaused) {
    if (isPaused === this.#isPaused) return;
    this.#isPaused = isPaused;
    this.#change();
  }

  close() {
    this.#isClosed = true;
    this.#change();
  }

  // What comes at once is one change. The old stream is not heard from here on: its claims leave the new topics out.
  #change() {
    this.#isPending = true;
    this.#interrupt("changed");
  }

  async #run() {
    while (!this.#isClosed) {
      await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
      this.#isPending = false;
      if (!this.topics.size || this.#isPaused) await this.#waited(Infinity);
      else await this.#turn();
    }
  }

  async #turn() {
    const end = await this.#listened();
    if (end === "changed") return;
    if (end === "refused") return await this.#polled();
    this.#say("reconnecting");
    await this.#waited(end === "bye" ? this.#retryMs : Math.random() * this.#retryMs);
  }

  /**
   * Wait, but no longer than until something changes.
   * @param {number} ms
   * @returns {Promise<void>}
   */
  #waited(ms) {
    if (this.#isPending) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = ms < Infinity ? setTimeout(() => this.#interrupt("woken"), ms) : undefined;
      this.#interrupt = () => {
        clearTimeout(timer);
        this.#interrupt = () => {};
        resolve();
      };
    });
  }

  /** @returns {Promise<End>} */
  #listened() {
    return new Promise((resolve) => {
      const source = new EventSource(this.#address("last_event_id"));
      let isOpen = false;
      let lastId = "";
      /** @type {ReturnType<typeof setTimeout>} */
      let timer;
      /** @param {End} how */
      const end = (how) => {
        clearTimeout(timer);
        source.close();
        this.#interrupt = () => {};
        resolve(how);
      };
      const gone = () => end(isOpen ? "lost" : "refused");
      this.#interrupt = (how) => how === "changed" && end("changed");
      source.addEventListener("error", gone);
      timer = setTimeout(gone, HELLO_WITHIN_MS);
      for (const event of ["hello", "heartbeat", "bye", ...TOLD]) {
        source.addEventListener(event, (message) => {
          if (source.readyState === source.CLOSED) return;
          const data = JSON.parse(message.data);
          if (event === "hello") isOpen = this.#open(data);
          clearTimeout(timer);
          timer = setTimeout(gone, this.#quietMs);
          if (event === "bye") this.#retryMs = data.retry_ms ?? RETRY_MS * (0.3 + 1.4 * Math.random());
          // An event without an id repeats the last one to whoever listens.
          const isMoved = message.lastEventId !== lastId;
          lastId = message.lastEventId;
          this.#tell(event, data, isMoved ? positionOf(lastId) : null);
          if (event === "bye") end("bye");
        });
      }
    });
  }

  /** @param {{ heartbeat_s?: number, retry_ms?: number, max_topics?: number }} hello */
  #open(hello) {
    this.#nRefused = 0;
    this.#retryMs = hello.retry_ms ?? RETRY_MS;
    this.#quietMs = N_HEARTBEATS_MISSED * (hello.heartbeat_s ?? HEARTBEAT_S) * 1000;
    this.nTopicsMax = hello.max_topics ?? N_TOPICS_MAX;
    this.#say("live");
    return true;
  }

  /**
   * @param {string} event
   * @param {any} data
   * @param {Position | null} position
   */
  #tell(event, data, position) {
    if (event === "reset") this.position = null;
    if (position) this.position = advanced(this.position, position);
    if (event === "revoked") for (const topic of data.topics) this.topics.delete(topic);
    if (TOLD.includes(event)) this.listener.told(event, data);
    else this.listener.reached();
  }

  /** Ask again and again, until it is time to try for a stream. */
  async #polled() {
    this.#nRefused += 1;
    const wait = Math.min(1000 * 2 ** this.#nRefused, LONGEST_WAIT_MS) * (0.5 + Math.random() / 2);
    const tryAt = Date.now() + wait;
    do {
      const askAgainMs = await this.#poll();
      if (this.#isPending) return;
      await this.#waited(Math.max(askAgainMs ?? wait, 500));
    } while (!this.#isPending && this.topics.size && Date.now() < tryAt);
  }

  /** Ask once; when to ask again, or null: nobody answered. */
  async #poll() {
    const asking = new AbortController();
    this.#interrupt = (how) => how === "changed" && asking.abort();
    const late = setTimeout(() => asking.abort(), POLL_WITHIN_MS);
    try {
      const { signal } = asking;
      const answer = await fetch(this.#address("since"), { headers: ASKING, cache: "no-store", signal });
      if (!answer.ok) return await this.#refusedPoll(answer, signal);
      const { cursor, events, retry_ms } = await answer.json();
      if (this.#isPending) return null; // rule 2
      this.#say("polling");
      for (const { event, data } of events) this.#tell(event, data, null);
      this.#tell("heartbeat", {}, positionOf(cursor));
      return retry_ms ?? RETRY_MS;
    } catch {
      if (this.#isPending) return null;
      const isOffline = !navigator.onLine || this.#nRefused >= N_FAILURES_OFFLINE;
      this.#say(isOffline ? "offline" : "reconnecting");
      return null;
    } finally {
      clearTimeout(late);
      this.#interrupt = () => {};
    }
  }

  /**
   * @param {Response} answer
   * @param {AbortSignal} signal
   */
  async #refusedPoll(answer, signal) {
    const isOurs = (answer.headers.get("content-type") ?? "").startsWith("application/problem+json");
    if (isOurs && answer.status === 403) {
      this.#tell("revoked", { topics: [...this.topics] }, null);
      return null;
    }
    if (isOurs && answer.status === 404) await this.#revokeUnknown(signal);
    this.#say(this.#nRefused >= N_FAILURES_OFFLINE ? "offline" : "reconnecting");
    const retryAfterS = Number(answer.headers.get("retry-after"));
    return retryAfterS > 0 ? retryAfterS * 1000 * (1 + Math.random() / 2) : null;
  }

  /**
   * One topic that nobody knows must not take those of other tabs with it, and the answer does not name it.
   * @param {AbortSignal} signal
   */
  async #revokeUnknown(signal) {
    for (const topic of [...this.topics]) {
      const { status } = await fetch(this.#address("since", [topic]), { headers: ASKING, cache: "no-store", signal });
      if (this.#isPending) return;
      if (status === 404 || status === 403) this.#tell("revoked", { topics: [topic] }, null);
    }
  }

  /** @param {Connection} connection */
  #say(connection) {
    if (connection === this.connection) return;
    this.connection = connection;
    this.listener.connected(connection);
  }

  /**
   * @param {string} cursorName
   * @param {Iterable<string>} topics
   */
  #address(cursorName, topics = this.topics) {
    const query = new URLSearchParams();
    for (const topic of topics) query.append("topic", topic);
    query.append(cursorName, textOf(this.position));
    return `${this.url}${this.url.includes("?") ? "&" : "?"}${query}`;
  }
}
