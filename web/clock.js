// Moments that keep saying how long ago they were.

import { absolute, ago } from "./format.js";
import { element, say } from "./element.js";

const EVERY_MS = 1000;

/** Return a `time` element: relative, absolute on hover; it follows the clock while it is in the document. */
export function moment(time_ms) {
  const at = new Date(time_ms);
  return element("time", { datetime: at.toISOString(), title: absolute(time_ms), "data-ms": time_ms }, ago(time_ms, Date.now()));
}

/** Return a `time` element with `text`, absolute on hover. */
export function dated(time_ms, text) {
  return element("time", { datetime: new Date(time_ms).toISOString(), title: absolute(time_ms) }, text);
}

/** Start the clock; called once. */
export function start() {
  setInterval(() => {
    if (document.hidden) return;
    const now_ms = Date.now();
    for (const node of document.querySelectorAll("time[data-ms]")) say(node, ago(Number(node.dataset.ms), now_ms));
  }, EVERY_MS);
}
