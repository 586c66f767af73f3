// @ts-check
// The shared worker: one hub for all tabs of a browser. Its name is the address of the updates.

import { Hub } from "./hub.js";
import { whenGone } from "./joining.js";

const scope = /** @type {any} */ (self);
const hub = new Hub(scope.name);
let nTabs = 0;

scope.addEventListener("connect", (/** @type {MessageEvent} */ { ports: [port] }) => {
  const own = `${(nTabs += 1)}`;
  const tell = (/** @type {any} */ message) => port.postMessage(message);
  port.addEventListener("message", ({ data }) => {
    if (data.lock) whenGone(data.lock, () => hub.hear(own, { leave: true }, tell));
    else hub.hear(own, data, tell);
  });
  port.addEventListener("close", () => hub.hear(own, { leave: true }, tell));
  port.start();
  tell({ ready: true });
});
