// @ts-check
// Puts new content into an element: morphed in place where idiomorph is there, replaced where it is not. HTML comes from
// the application's own templates, which escape; whatever runs is taken out of it once more.

import { Idiomorph } from "./idiomorph.js";
import { keep } from "./keeping.js";

/** @typedef {{ createHTML: (html: string) => any, createScriptURL: (url: string) => any }} Policy */

/** @type {Policy | null} */
let policy = null;
let hasWarned = false;

/**
 * The policy that pages with Trusted Types allow by `trusted-types NAME`.
 * @param {string} name
 * @returns {Policy | null}
 */
export function trust(name) {
  const plain = { createHTML: (/** @type {string} */ html) => html, createScriptURL: (/** @type {string} */ url) => url };
  const types = /** @type {any} */ (globalThis).trustedTypes;
  policy = types ? types.createPolicy(name, plain) : plain;
  return policy;
}

/**
 * Show the HTML or the value. Whoever types, reads or scrolls in there goes on as if nothing had happened.
 * @param {HTMLElement} element
 * @param {{ html?: string, value?: unknown }} update
 */
export function draw(element, { html, value }) {
  if (html === undefined) {
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    if (element.textContent !== text) element.textContent = text;
    return;
  }
  const content = parsed(html);
  if (!content) return;
  const restore = keep(element);
  if (Idiomorph) morph(element, content);
  else element.replaceChildren(content);
  restore();
}

/**
 * @param {HTMLElement} element
 * @param {DocumentFragment} content
 */
function morph(element, content) {
  Idiomorph.morph(element, content, {
    morphStyle: "innerHTML",
    ignoreActiveValue: true,
    restoreFocus: false, // `keep` does it, and knows more than fields
    callbacks: { beforeAttributeUpdated, beforeNodeMorphed: (/** @type {Node} */ old, /** @type {Node} */ drawn) => !isNewer(old, drawn) },
  });
}

/**
 * What was opened stays open, and what this module says of an element inside stays said.
 * @param {string} name
 * @param {Element} element
 */
function beforeAttributeUpdated(name, element) {
  if (name === "open") return !["DETAILS", "DIALOG"].includes(element.tagName);
  return !(element.tagName === "LIVE-ENTRY" && ["state", "connection", "aria-live"].includes(name));
}

/**
 * An element inside, of a topic of its own, may show something newer than what was drawn around it.
 * @param {Node} old
 * @param {Node} drawn
 */
function isNewer(old, drawn) {
  if (!(old instanceof HTMLElement && drawn instanceof HTMLElement) || old.tagName !== "LIVE-ENTRY") return false;
  return Number(old.getAttribute("version") ?? 0) > Number(drawn.getAttribute("version") ?? 0);
}

/**
 * The HTML as nodes without anything that runs, or null: this browser cannot parse it under the page's policy.
 * @param {string} html
 * @returns {DocumentFragment | null}
 */
function parsed(html) {
  const template = document.createElement("template");
  if ("setHTML" in template) {
    // Without a sanitizer of our own it would drop ids, classes and forms; scripts and handlers go in any case.
    /** @type {any} */ (template).setHTML(html, { sanitizer: {} });
    return withoutReach(template.content);
  }
  try {
    /** @type {any} */ (template).innerHTML = policy ? policy.createHTML(html) : html;
  } catch (error) {
    if (!hasWarned) console.warn("live-entry: allow `trusted-types live-entry` for browsers without setHTML.", error);
    hasWarned = true;
    return null;
  }
  cleaned(template.content);
  return withoutReach(template.content);
}

/**
 * Take out what runs nothing and yet reaches beyond the element: the page's own style and address, and other streams.
 * @param {DocumentFragment} content
 */
function withoutReach(content) {
  for (const element of content.querySelectorAll("meta, link, style, base")) element.remove();
  for (const element of content.querySelectorAll("live-entry")) element.removeAttribute("updates");
  for (const element of content.querySelectorAll("[rel~=opener i]")) element.removeAttribute("rel");
  return content;
}

const ELEMENTS = new Set(
  `a abbr address area article aside audio b bdi bdo blockquote br button canvas caption circle cite clippath code col
  colgroup data datalist dd defs del desc details dfn dialog div dl dt ellipse em fieldset figcaption figure footer form g
  h1 h2 h3 h4 h5 h6 header hgroup hr i img input ins kbd label legend li line lineargradient main map mark marker mask menu
  meter nav ol optgroup option output p path pattern picture polygon polyline pre progress q radialgradient rect rp rt ruby
  s samp search section select small source span stop strong sub summary sup svg symbol table tbody td template text textarea
  textpath tfoot th thead time title tr track tspan u ul var video wbr`.split(/\s+/),
);
const ADDRESSES = new Set(["href", "src", "action", "formaction", "xlink:href", "poster", "cite", "background"]);
const RUNS = /^on|^(srcdoc|is|nonce)$/;

/**
 * Take out what is not known to be harmless: elements, handlers, and addresses that are programs.
 * @param {DocumentFragment} content
 */
export function cleaned(content) {
  for (const element of content.querySelectorAll("*")) {
    const name = element.localName.toLowerCase();
    if (!ELEMENTS.has(name) && !name.includes("-")) {
      element.remove();
      continue;
    }
    for (const { name: attribute, value } of [...element.attributes]) {
      const isAddress = ADDRESSES.has(attribute.toLowerCase());
      if (RUNS.test(attribute.toLowerCase()) || (isAddress && isProgram(value))) element.removeAttribute(attribute);
    }
    if (element instanceof HTMLTemplateElement) cleaned(element.content);
  }
}

/** @param {string} address */
function isProgram(address) {
  const [, scheme] = /^([a-z][a-z0-9+.-]*):/i.exec(address.replace(/[\u0000-\u0020]/g, "")) ?? [];
  if (!scheme) return false;
  return !["http", "https", "mailto", "tel"].includes(scheme.toLowerCase()) && !/^data:image\/(?!svg)/i.test(address.trim());
}
