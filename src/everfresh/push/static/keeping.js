// @ts-check
// Keeps what a person has done in an element while its content is drawn anew: focus and selection, typed text, choices,
// scroll, opened details. Things are found again by being the same node, else by id or name, else (where a mistake does no
// harm) by their place.

/**
 * Remember what the person has done; the answer puts it back.
 * @param {HTMLElement} root
 * @returns {() => void}
 */
export function keep(root) {
  const restorers = [...fields(root), ...opened(root), ...scrolled(root), ...focused(root)];
  return () => restorers.forEach((restore) => restore());
}

/** @param {HTMLElement} root */
function* fields(root) {
  for (const field of root.querySelectorAll("input, textarea, select")) {
    const find = finder(root, field);
    if (field instanceof HTMLSelectElement) {
      const isTouched = [...field.options].some((option) => option.selected !== option.defaultSelected);
      const chosen = field.value;
      if (isTouched && !field.multiple) yield () => set(find(), "value", chosen);
    } else if (field instanceof HTMLInputElement && ["checkbox", "radio"].includes(field.type)) {
      const { checked } = field;
      if (checked !== field.defaultChecked) yield () => set(find(), "checked", checked);
    } else if (field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement) {
      const { value } = field;
      const canBeSet = field.type !== "file" && field.type !== "hidden";
      if (canBeSet && value !== field.defaultValue) yield () => set(find(), "value", value);
    }
  }
}

/** @param {HTMLElement} root */
function* opened(root) {
  for (const details of root.querySelectorAll("details")) {
    const { open } = details;
    const find = finder(root, details, true);
    yield () => set(find(), "open", open);
  }
}

/** @param {HTMLElement} root */
function* scrolled(root) {
  for (const element of [root, ...root.querySelectorAll("*")]) {
    const { scrollTop, scrollLeft } = element;
    if (!scrollTop && !scrollLeft) continue;
    const find = finder(root, element, true);
    yield () => {
      set(find(), "scrollTop", scrollTop);
      set(find(), "scrollLeft", scrollLeft);
    };
  }
}

/** @param {HTMLElement} root */
function* focused(root) {
  const active = document.activeElement;
  if (!(active instanceof HTMLElement) || !root.contains(active) || active === root) return;
  const find = finder(root, active, !(active instanceof HTMLInputElement));
  const { selectionStart, selectionEnd, selectionDirection } = /** @type {HTMLInputElement} */ (active);
  yield () => {
    const found = /** @type {HTMLInputElement | null} */ (find());
    if (!found) {
      // The thing is gone. Whoever goes through the page by keyboard stays near it, and is not sent back to the top.
      root.tabIndex = -1;
      root.focus({ preventScroll: true });
      return;
    }
    if (document.activeElement !== found) found.focus({ preventScroll: true });
    if (typeof selectionStart !== "number") return;
    if (found.selectionStart === selectionStart && found.selectionEnd === selectionEnd) return;
    found.setSelectionRange(selectionStart, selectionEnd, selectionDirection ?? undefined);
  };
}

/**
 * @param {Element | null} element
 * @param {string} property
 * @param {unknown} value
 */
function set(element, property, value) {
  const target = /** @type {any} */ (element);
  if (target && target[property] !== value) target[property] = value;
}

/**
 * What finds the element again after its surroundings were drawn anew.
 * @param {HTMLElement} root
 * @param {Element} element
 * @param {boolean} mayGuess
 * @returns {() => Element | null}
 */
function finder(root, element, mayGuess = false) {
  const { id, localName } = element;
  const name = element.getAttribute("name");
  const value = element.getAttribute("type") === "radio" ? `[value="${CSS.escape(element.getAttribute("value") ?? "")}"]` : "";
  const place = mayGuess ? placeOf(root, element) : null;
  return () => {
    if (root.contains(element)) return element;
    if (id) return root.querySelector(`${localName}[id="${CSS.escape(id)}"]`);
    if (name) return root.querySelector(`${localName}[name="${CSS.escape(name)}"]${value}`);
    return place ? at(root, place, localName) : null;
  };
}

/**
 * @param {HTMLElement} root
 * @param {Element} element
 */
function placeOf(root, element) {
  const place = [];
  for (let one = element; one !== root && one.parentElement; one = one.parentElement) {
    place.unshift([...one.parentElement.children].indexOf(one));
  }
  return place;
}

/**
 * @param {Element} root
 * @param {number[]} place
 * @param {string} localName
 */
function at(root, place, localName) {
  /** @type {Element | undefined} */
  let found = root;
  for (const index of place) found = found?.children[index];
  return found?.localName === localName ? found : null;
}
