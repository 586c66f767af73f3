// What this page adds to its live entries, which draw themselves: a badge for the connection, a flash on what has changed,
// and a form that is sent without a reload.

const badge = document.querySelector("#link");

document.addEventListener("live-entry:connection", ({ detail: { connection } }) => {
  badge.dataset.state = connection;
  badge.textContent = connection;
});

// --- what has changed ------------------------------------------------------------------------------------------

// What is new or reads otherwise than before gets the class that the style sheet flashes.
const textOf = (item) => item.textContent.replace(/\s+/g, " ");
const itemsOf = (entry) => [...entry.querySelectorAll("[data-key]")];
const textsOf = new WeakMap();

document.addEventListener("live-entry:update", ({ target }) => {
  textsOf.set(target, new Map(itemsOf(target).map((item) => [item.dataset.key, textOf(item)])));
});

document.addEventListener("live-entry:drawn", ({ target }) => {
  const texts = textsOf.get(target);
  const items = itemsOf(target);
  for (const item of items) item.classList.remove("changed");
  void target.offsetWidth; // else a class that goes and comes back starts no animation
  for (const item of items) if (texts.get(item.dataset.key) !== textOf(item)) item.classList.add("changed");
});

// --- the form --------------------------------------------------------------------------------------------------

const form = document.querySelector("#change");
const said = form.querySelector("output");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  said.textContent = "Sending…";
  try {
    const body = new URLSearchParams(new FormData(form));
    const answer = await fetch(form.action, { method: "POST", body, headers: { accept: "application/json" } });
    if (answer.ok) form.reset();
    said.textContent = (await answer.json()).said;
  } catch (error) {
    said.textContent = `The page's server did not answer (${error.message}). Try again.`;
  }
});
