// Bars of an explanation: what each feature added to the score, and where its value lies in the usual range.

import { element } from "./element.js";
import { quantity } from "./format.js";
import { featureLink } from "./notice.js";
import { table } from "./table.js";

const MOST_STEPS = 10;

const signed = (value) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(2)}`;

/** Return the waterfall of contributions, the strongest first, all others together, then their sum. */
export function waterfall(features) {
  const known = features.filter((one) => one.contribution !== null);
  const strongest = [...known].sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution));
  const rest = strongest.slice(MOST_STEPS);
  const steps = strongest.slice(0, MOST_STEPS).map((one) => ({ name: one.name, description: one.description, by: one.contribution }));
  if (rest.length)
    steps.push({
      name: "",
      description: `${rest.length} other features together`,
      by: rest.reduce((total, one) => total + one.contribution, 0),
    });
  let at = 0;
  for (const step of steps) {
    step.from = at;
    at += step.by;
    step.to = at;
  }
  const ends = [0, ...steps.flatMap((step) => [step.from, step.to])];
  const low = Math.min(...ends);
  const width = Math.max(...ends) - low || 1;
  const part = (value) => `${(100 * (value - low)) / width}%`;
  const bar = (from, to, kind) =>
    element(
      "span",
      { class: "bar is-step", "aria-hidden": "true" },
      element("span", { class: "bar-zero", style: { left: part(0) } }),
      element("span", {
        class: `bar-fill ${kind}`,
        style: { left: part(Math.min(from, to)), width: `${Math.max(0.6, (100 * Math.abs(to - from)) / width)}%` },
      }),
    );
  const row = (name, drawn, value, isTotal) =>
    element(
      "tr",
      { class: isTotal ? "total" : null },
      element("th", { scope: "row" }, name),
      element("td", { class: "steps" }, drawn),
      element("td", { class: "number" }, value),
    );
  return element(
    "table",
    { class: "waterfall" },
    element(
      "caption",
      { class: "quiet-text" },
      "Contribution to the score, in log-odds: to the right = more like fraud, to the left = less.",
    ),
    element(
      "thead",
      { class: "unseen" },
      element(
        "tr",
        {},
        element("th", { scope: "col" }, "Feature"),
        element("th", { scope: "col" }, "Drawn"),
        element("th", { scope: "col" }, "Contribution"),
      ),
    ),
    element(
      "tbody",
      {},
      steps.map((step) =>
        row(
          [step.name ? featureLink(step.name) : null, element("span", { class: "beside" }, step.description)],
          bar(step.from, step.to, step.by > 0 ? "is-up" : "is-down"),
          signed(step.by),
        ),
      ),
      row("In all", bar(0, at, "is-sum"), signed(at), true),
    ),
  );
}

/** Return a small bar: the usual range as a band, the value as a mark. */
function bullet({ value, usual_low: low, usual_high: high }) {
  if (value === null || low === null || high === null) return element("span", { class: "bullet is-none", "aria-hidden": "true" });
  const span = Math.max(high - low, Math.abs(high) * 0.02, 1e-9);
  const begin = Math.min(low - span * 0.5, value);
  const end = Math.max(high + span * 0.5, value);
  // Far values would squeeze the range to nothing: beyond three ranges the mark stands at the edge.
  const from = Math.max(begin, low - 3 * span);
  const to = Math.min(end, high + 3 * span);
  const part = (one) => `${(100 * Math.min(1, Math.max(0, (one - from) / (to - from)))).toFixed(1)}%`;
  const isOutside = value < low || value > high;
  return element(
    "span",
    { class: "bullet", "aria-hidden": "true" },
    element("span", { class: "bullet-usual", style: { left: part(low), width: `${(100 * (high - low)) / (to - from)}%` } }),
    element("span", { class: `bullet-value${isOutside ? " is-outside" : ""}`, style: { left: part(value) } }),
  );
}

/** Return the table of inputs; unusual ones first. */
export function inputs(features, currency) {
  const text = (value, row) => quantity(value, row.unit, currency, row.name);
  const grid = table({
    caption: "Every feature with its usual range: 19 of 20 known values of the training lie in it. Unusual ones first.",
    isCaptionSeen: true,
    key: (row) => row.name,
    most: 15,
    columns: [
      { title: "Feature", isHeader: true, cell: (row) => [featureLink(row.name), element("span", { class: "beside" }, row.description)] },
      {
        title: "Value",
        isNumber: true,
        cell: (row) => [element("strong", {}, text(row.value, row)), row.is_unusual && element("span", { class: "beside" }, "unusual")],
      },
      { title: "In its range", cell: bullet },
      {
        title: "Usual",
        isNumber: true,
        cell: (row) =>
          row.usual_low === null || row.usual_high === null ? "–" : `${text(row.usual_low, row)} – ${text(row.usual_high, row)}`,
      },
      { title: "Contribution", isNumber: true, cell: (row) => (row.contribution === null ? "–" : signed(row.contribution)) },
    ],
  });
  grid.set(
    [...features].sort(
      (a, b) => Number(b.is_unusual) - Number(a.is_unusual) || Math.abs(b.contribution ?? 0) - Math.abs(a.contribution ?? 0),
    ),
  );
  return grid.node;
}
