// @ts-check
// How a tab gets to the hub: in a shared worker; else in the tab that holds a lock, over a broadcast channel; else in
// this very tab. A tab that ends without a word is noticed by the lock that it held.

import { Hub } from "./hub.js";

/** @typedef {{ say: (message: any) => void, leave: () => void }} Way */
/**
 * @typedef {object} Joining
 * @property {string} url where the updates are
 * @property {TrustedTypePolicyLike | null} policy makes the address of a worker trusted; null: no worker may be started
 * @property {(message: any) => void} receive what the hub tells this tab
 * @property {() => void} ask the hub is new: it has to be told what this tab wants
 */
/** @typedef {{ createScriptURL: (url: string) => any }} TrustedTypePolicyLike */

const READY_WITHIN_MS = 5000;
// Timers of a hidden tab ring once a minute; an elected tab that is silent for longer than that is frozen.
const SILENT_MS = 150_000;

/**
 * Join by the best way there is; it may be given up later on for the next one.
 * @param {Joining} joining
 * @returns {Way}
 */
export function join(joining) {
  const ways = [byWorker, byLock, alone];
  /** @type {Way | null} */
  let way = null;
  const next = () => {
    way?.leave();
    do way = /** @type {any} */ (ways.shift())(joining, fail);
    while (!way);
  };
  const fail = () => {
    next();
    joining.ask();
  };
  next();
  return { say: (message) => way?.say(message), leave: () => way?.leave() };
}

/**
 * Call when the tab that holds the lock is gone.
 * @param {string} lock
 * @param {() => void} then
 */
export function whenGone(lock, then) {
  void navigator.locks?.request(lock, then);
}

/**
 * @param {Joining} joining
 * @param {() => void} fail
 * @returns {Way | null}
 */
function byWorker({ url, policy, receive }, fail) {
  if (!policy || typeof SharedWorker === "undefined") return null;
  const script = policy.createScriptURL(new URL("./worker.js", import.meta.url).href);
  let worker;
  try {
    worker = new SharedWorker(script, { type: "module", name: url });
  } catch {
    return null;
  }
  const port = worker.port;
  const late = setTimeout(fail, READY_WITHIN_MS);
  worker.addEventListener("error", fail, { once: true });
  port.addEventListener("message", ({ data }) => {
    if (data.ready) clearTimeout(late);
    else receive(data);
  });
  port.start();
  const tab = heldLock((lock) => port.postMessage({ lock }));
  return {
    say: (message) => port.postMessage(message),
    leave() {
      clearTimeout(late);
      worker.removeEventListener("error", fail);
      port.postMessage({ leave: true });
      port.close();
      tab.release();
    },
  };
}

/**
 * @param {Joining} joining
 * @param {() => void} fail
 * @returns {Way | null}
 */
function byLock({ url, receive, ask }, fail) {
  if (!navigator.locks || typeof BroadcastChannel === "undefined") return null;
  const id = crypto.randomUUID();
  const channel = new BroadcastChannel(`live-entry ${url}`);
  /** @type {Hub | null} */
  let hub = null;
  let hasLeft = false;
  let silent = setTimeout(() => {}, 0);
  const heard = () => {
    clearTimeout(silent);
    silent = setTimeout(() => (document.hidden ? heard() : fail()), SILENT_MS);
  };
  heard();

  const elected = new AbortController();
  /** @type {(value?: unknown) => void} */
  let resign = () => {};
  const lead = () => {
    if (hasLeft) return;
    clearTimeout(silent);
    hub = new Hub(url);
    channel.postMessage({ ask: true });
    ask();
    return new Promise((resolve) => (resign = resolve));
  };
  navigator.locks.request(`live-entry ${url}`, { signal: elected.signal }, lead).catch(() => {});

  const tab = heldLock(ask); // said again, with the lock by which the hub notices our end
  channel.addEventListener("message", ({ data: { from, lock, to, ask: isAsked, message } }) => {
    if (hub && from) {
      if (lock && message.wants) watch(from, lock);
      hub.hear(from, message, (answer) => channel.postMessage({ to: from, message: answer }));
    } else if (!hub && (isAsked || to === id)) {
      heard();
      if (isAsked) ask();
      else receive(message);
    }
  });
  /** @type {Set<string>} */
  const watched = new Set();
  const watch = (/** @type {string} */ from, /** @type {string} */ lock) => {
    if (watched.has(from)) return;
    watched.add(from);
    whenGone(lock, () => {
      watched.delete(from);
      hub?.hear(from, { leave: true }, () => {});
    });
  };
  const say = (/** @type {any} */ message) => {
    if (hub) hub.hear(id, message, receive);
    else if (!hasLeft) channel.postMessage({ from: id, lock: tab.isHeld() && tab.name, message });
  };
  return {
    say,
    leave() {
      say({ leave: true });
      hasLeft = true;
      clearTimeout(silent);
      elected.abort();
      hub?.close();
      hub = null;
      channel.close();
      resign();
      tab.release();
    },
  };
}

/**
 * @param {Joining} joining
 * @returns {Way}
 */
function alone({ url, receive }) {
  const hub = new Hub(url);
  return { say: (message) => hub.hear("own", message, receive), leave: () => hub.close() };
}

/**
 * A lock that this tab holds until it ends. Its name is worth nothing before it is held.
 * @param {(name: string) => void} held
 */
function heldLock(held) {
  /** @type {(value?: unknown) => void} */
  let release = () => {};
  let isHeld = false;
  const name = navigator.locks ? `live-entry tab ${crypto.randomUUID()}` : "";
  if (name) {
    const end = new Promise((resolve) => (release = resolve));
    void navigator.locks.request(name, () => {
      isHeld = true;
      held(name);
      return end;
    });
  }
  return { name, release, isHeld: () => isHeld };
}
