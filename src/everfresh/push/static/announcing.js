// @ts-check
// Says a phrase to those who hear the page: one polite region for all elements, seen by nobody.

/** @type {HTMLElement | undefined} */
let region;
/** @type {Set<string>} */
const phrases = new Set();

const SETTLE_MS = 150; // what changes together is said in one go
const HIDDEN = { position: "absolute", width: "1px", height: "1px", overflow: "hidden", clipPath: "inset(50%)", whiteSpace: "nowrap" };

/** @param {string} phrase */
export function announce(phrase) {
  if (!phrases.size) setTimeout(say, SETTLE_MS);
  phrases.add(phrase);
  // There before it speaks: a region that comes with its text is not read by all readers.
  region ??= made();
}

function say() {
  const said = document.createElement("p");
  said.textContent = [...phrases].join(". ");
  phrases.clear();
  region?.replaceChildren(said);
}

function made() {
  const made = document.createElement("div");
  made.setAttribute("role", "status");
  made.setAttribute("aria-live", "polite");
  Object.assign(made.style, HIDDEN); // a policy refuses style attributes, not this
  document.body.append(made);
  return made;
}
