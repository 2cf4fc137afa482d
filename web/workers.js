// The fleet: one row for each process that scores.

import { moment } from "./clock.js";
import { element } from "./element.js";
import { count, rate } from "./format.js";
import { badge, emptiness } from "./notice.js";
import { table } from "./table.js";

/** Partitions as ranges: [0, 1, 2, 5] -> "0–2, 5". */
export function ranges(partitions) {
  const found = [];
  for (const one of [...partitions].sort((a, b) => a - b)) {
    const last = found.at(-1);
    if (last && last[1] === one - 1) last[1] = one;
    else found.push([one, one]);
  }
  return found.map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`)).join(", ") || "none";
}

/** The panel of workers: {node, set(workers)}. */
export function workerPanel() {
  const rows = table({
    caption: "Workers, their health and their load",
    key: (row) => row.worker,
    most: 12,
    columns: [
      { title: "Worker", isHeader: true, cell: (row) => element("span", { class: "name" }, row.worker) },
      { title: "Health", cell: (row) => [badge(row.state), row.sentence && element("span", { class: "beside" }, row.sentence)] },
      { title: "Rate", isNumber: true, cell: (row) => rate(row.rate_per_s) },
      { title: "Waiting", isNumber: true, cell: (row) => count(row.lag) },
      { title: "Partitions", cell: (row) => ranges(row.partitions) },
      { title: "Model", cell: (row) => element("span", { class: "name" }, row.model) },
      { title: "Redis", cell: (row) => row.redis },
      { title: "Seen", cell: (row) => moment(row.last_seen_ms) },
    ],
  });
  const empty = element(
    "div",
    {},
    emptiness("No worker is running.", "Start one with `weir worker`, one for each core; each appears here within seconds."),
  );
  const node = element(
    "section",
    { class: "panel workers-panel", "aria-labelledby": "workers-title" },
    element("div", { class: "panel-head" }, element("h2", { id: "workers-title" }, "Workers")),
    rows.node,
    empty,
  );
  return {
    node,
    set(workers) {
      rows.node.hidden = !workers.length;
      empty.hidden = workers.length > 0;
      rows.set(workers);
    },
  };
}
