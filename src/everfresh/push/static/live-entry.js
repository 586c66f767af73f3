// @ts-check
// <live-entry topic="stock">3 left</live-entry>: content that the server has drawn, and that is drawn again in place when
// its entry changes. The page works without this module; the module only adds.
//
// Of the page: <meta name="live-updates" content="/updates">, <meta name="live-position" content="..."> (the position read
// before the page was drawn) and, where the page's policy has `trusted-types live-entry`,
// <meta name="live-policy" content="live-entry">.

import { announce } from "./announcing.js";
import { draw, trust } from "./drawing.js";
import { Feed } from "./feed.js";
import { positionOf } from "./position.js";

const said = (/** @type {string} */ name) =>
  /** @type {HTMLMetaElement | null} */ (document.querySelector(`meta[name="live-${name}"]`))?.content ?? "";

// Whether a policy of that name may be made cannot be asked without a violation, so the page says it.
const policy = said("policy") ? trust(said("policy")) : null;

/** @type {Map<string, Feed>} */
const feeds = new Map();

/** @param {string} url */
function feedOf(url) {
  const feed = feeds.get(url) ?? new Feed(url, policy);
  feeds.set(url, feed);
  return feed;
}

// What the store says of an entry, in the words that a style sheet needs.
const SHOWN = /** @type {Record<string, string>} */ ({ fresh: "fresh", failed: "failed", revoked: "revoked" });

export class LiveEntry extends HTMLElement {
  static observedAttributes = ["topic", "token"];

  /** @type {Feed | null} */
  #feed = null;
  #html = "";
  #isEmptied = false;
  #isComposing = false;
  topic = "";

  constructor() {
    super();
    this.addEventListener("compositionstart", () => (this.#isComposing = true));
    this.addEventListener("compositionend", () => (this.#isComposing = false));
  }

  connectedCallback() {
    if (this.hasAttribute("announce") && !this.getAttribute("announce")) this.setAttribute("aria-live", "polite");
    this.topic = this.getAttribute("topic") ?? "";
    if (!this.topic) return;
    this.#feed = feedOf(this.updates);
    this.#feed.add(this);
  }

  disconnectedCallback() {
    this.#feed?.remove(this);
    this.#feed = null;
  }

  attributeChangedCallback() {
    if (!this.#feed) return;
    if (this.topic !== this.getAttribute("topic")) this.startOver();
    this.disconnectedCallback();
    this.connectedCallback();
  }

  /** Where the updates are. What a token lets in is a stream of its own. */
  get updates() {
    const url = new URL(this.getAttribute("updates") ?? (said("updates") || "/updates"), document.baseURI);
    const token = this.getAttribute("token");
    if (token) url.searchParams.set("token", token);
    return url.href;
  }

  get position() {
    return this.#isEmptied ? null : positionOf(this.getAttribute("position") ?? said("position"));
  }

  /** The version that is shown; 0: the server did not say. */
  get version() {
    return Number(this.getAttribute("version") ?? 0);
  }

  get isBusy() {
    return this.#isComposing;
  }

  /** Any version is taken from now on: the store began a new life, or the topic is another. */
  startOver() {
    this.setAttribute("version", "0");
  }

  /** @param {{ topic: string, version: number, state: string, html?: string, value?: unknown }} update */
  showValue(update) {
    if (update.version < this.version) return;
    const isShown = this.version > 0 && update.version === this.version;
    this.setAttribute("version", `${update.version}`);
    if (!isShown) this.#redraw(update);
    this.showState(update.state);
  }

  /** @param {string} state */
  showState(state) {
    const shown = SHOWN[state] ?? "stale";
    if (this.getAttribute("state") === shown) return;
    this.setAttribute("state", shown);
    if (shown !== "revoked") return;
    // Who may see it no longer sees it no longer, unless the page knows better.
    if (!this.dispatchEvent(new CustomEvent("live-entry:revoked", { bubbles: true, cancelable: true }))) return;
    this.replaceChildren();
    this.#html = "";
    this.#isEmptied = true;
    this.startOver();
  }

  /** @param {string} connection */
  showConnection(connection) {
    if (this.getAttribute("connection") === connection) return;
    this.setAttribute("connection", connection);
    this.dispatchEvent(new CustomEvent("live-entry:connection", { bubbles: true, detail: { connection } }));
  }

  /** @param {{ html?: string, value?: unknown }} update */
  #redraw(update) {
    if (update.html !== undefined && update.html === this.#html) return;
    this.#html = update.html ?? "";
    this.#isEmptied = false;
    const options = { bubbles: true, cancelable: true, detail: update };
    if (!this.dispatchEvent(new CustomEvent("live-entry:update", options))) return;
    draw(this, update);
    const phrase = this.getAttribute("announce");
    if (phrase) announce(phrase);
    this.dispatchEvent(new CustomEvent("live-entry:drawn", { bubbles: true, detail: update }));
  }
}

if (!customElements.get("live-entry")) customElements.define("live-entry", LiveEntry);
