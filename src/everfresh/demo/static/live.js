// Keeps the page live: one event stream for all widgets. Each update carries the new HTML of one widget, so nothing
// else is asked for, and nothing else on the page is touched.

const page = document.body.dataset;
const badge = document.querySelector("#link");
const widgets = new Map(
  [...document.querySelectorAll("[data-topic]")].map((widget) => [widget.dataset.topic, widget]),
);

// --- the stream ------------------------------------------------------------------------------------------------

const LONGEST_WAIT_MS = 60_000;
const QUIET_MS = 50_000; // two heartbeats missed: the link is dead, whatever the browser thinks
let cursor = page.position; // everything up to here is on the page
let source;
let nFailures = 0;
let retryTimer;
let quietTimer;

function connect() {
  clearTimeout(retryTimer);
  source?.close();
  const query = new URLSearchParams([...widgets.keys()].map((topic) => ["topic", topic]));
  query.set("last_event_id", cursor);
  source = new EventSource(`${page.updates}?${query}`);
  source.addEventListener("error", lost);
  for (const [name, handle] of Object.entries(handlers)) {
    source.addEventListener(name, (event) => {
      restartQuietTimer();
      handle(JSON.parse(event.data));
      cursor = event.lastEventId || cursor;
    });
  }
  restartQuietTimer();
}

const handlers = {
  hello() {
    nFailures = 0;
    show("live");
  },
  update(data) {
    const widget = widgets.get(data.topic);
    // Versions only grow; after a reset any version is taken.
    if (widget && Number(data.version) >= Number(widget.dataset.version)) redraw(widget, data);
  },
  reset() {
    for (const widget of widgets.values()) widget.dataset.version = "0";
  },
  heartbeat() {},
  stale: setState,
  fresh: setState,
  failed: setState,
  bye() {
    show("reconnecting"); // the browser comes back by itself, after the time that the farewell named
  },
};

// The browser reconnects by itself, with its Last-Event-ID, after a broken connection; but it gives up for good after
// any answer other than 200. Then we begin again, where we were.
function lost() {
  if (source.readyState !== EventSource.CLOSED) return show("reconnecting");
  nFailures += 1;
  connectIn(Math.random() * Math.min(1000 * 2 ** nFailures, LONGEST_WAIT_MS));
}

function connectIn(ms) {
  show("reconnecting");
  clearTimeout(quietTimer);
  clearTimeout(retryTimer);
  retryTimer = setTimeout(connect, ms);
}

function restartQuietTimer() {
  clearTimeout(quietTimer);
  quietTimer = setTimeout(connect, QUIET_MS);
}

function connectNowIfLost() {
  if (source.readyState === EventSource.CLOSED && !document.hidden) connect();
}

addEventListener("online", connectNowIfLost);
document.addEventListener("visibilitychange", connectNowIfLost);
addEventListener("pagehide", () => {
  clearTimeout(quietTimer);
  clearTimeout(retryTimer);
  source.close();
});
addEventListener("pageshow", (event) => event.persisted && connect());

// --- the page --------------------------------------------------------------------------------------------------

function show(state) {
  badge.dataset.state = state;
  badge.textContent = state;
}

function setState({ topic, state }) {
  const widget = widgets.get(topic);
  if (widget) widget.dataset.state = state;
}

function redraw(widget, { version, state, html }) {
  const content = widget.querySelector(".content");
  const drawn = parsed(html);
  markChanges(content, drawn);
  const focused = content.contains(document.activeElement) && document.activeElement.id;
  content.replaceChildren(drawn);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  widget.dataset.version = version;
  widget.dataset.state = state;
}

// The HTML comes from our own server, where the templates escape every value. setHTML, where the browser has it,
// refuses scripts and handlers once more.
function parsed(html) {
  const template = document.createElement("template");
  if (template.setHTML) template.setHTML(html, { sanitizer: {} });
  else template.innerHTML = html;
  return template.content;
}

// What is new or reads otherwise than before gets the class that the style sheet flashes.
function markChanges(before, after) {
  const texts = new Map([...before.querySelectorAll("[data-key]")].map((item) => [item.dataset.key, textOf(item)]));
  for (const item of after.querySelectorAll("[data-key]")) {
    if (texts.get(item.dataset.key) !== textOf(item)) item.classList.add("changed");
  }
}

const textOf = (item) => item.textContent.replace(/\s+/g, " ");

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

connect();
