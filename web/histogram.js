// Shares by bin, now against training: one row for each bin, so that it reads on any screen and aloud.

import { element } from "./element.js";
import { quantity, share } from "./format.js";

/** The range of bin `place`: the first and the last one are open. */
function binLabel(edges, place, unit, currency, name) {
  const text = (value) => quantity(value, unit, currency, name);
  if (!edges.length) return "all values";
  if (place === 0) return `≤ ${text(edges[0])}`;
  if (place === edges.length) return `> ${text(edges.at(-1))}`;
  const [from, to] = [text(edges[place - 1]), text(edges[place])];
  // "0.3 × – 0.5 ×" is "0.3 – 0.5 ×": a unit that both ends have is said once.
  const unitOf = (said) => /\s[^\d\s]+$/.exec(said)?.[0] ?? "";
  return unitOf(from) === unitOf(to) && unitOf(from) ? `${from.slice(0, -unitOf(from).length)} – ${to}` : `${from} – ${to}`;
}

const part = (value, top) => `${top > 0 ? Math.min(100, (100 * (value ?? 0)) / top) : 0}%`;

/** Return the table of a `Histogram`; `row`: the feature's DriftRow. */
export function histogram(found, row, currency, window) {
  const rows = found.reference.map((reference, place) => ({
    label: binLabel(found.edges, place, row.unit, currency, row.feature),
    reference,
    current: found.current?.[place] ?? null,
    past: found.past?.[place] ?? null,
  }));
  rows.push({ label: "missing", reference: found.reference_missing, current: found.current_missing, past: found.past_missing });
  const top = Math.max(...rows.flatMap((one) => [one.reference, one.current ?? 0, one.past ?? 0]));
  const body = rows.map((one) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", class: "bin" }, one.label),
      element(
        "td",
        { class: "bins", "aria-hidden": "true" },
        element(
          "span",
          { class: "bar is-now" },
          element("span", { class: "bar-fill", style: { width: part(one.current, top) } }),
          one.past !== null && element("span", { class: "bar-tick", style: { left: part(one.past, top) } }),
        ),
        element(
          "span",
          { class: "bar is-thin" },
          element("span", { class: "bar-fill is-beside", style: { width: part(one.reference, top) } }),
        ),
      ),
      element("td", { class: "number" }, share(one.current)),
      element("td", { class: "number quiet-text" }, share(one.reference)),
    ),
  );
  return element(
    "div",
    {},
    element(
      "ul",
      { class: "legend" },
      element("li", { class: "key is-block" }, `last ${window}`),
      element("li", { class: "key is-block is-beside" }, "training"),
      found.past && element("li", { class: "key is-tick" }, "same hours of the last 4 weeks"),
    ),
    element(
      "table",
      { class: "histogram" },
      element("caption", { class: "unseen" }, `Share of transactions by range of ${row.feature}, last ${window} against training`),
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          element("th", { scope: "col" }, "Value"),
          element("th", { scope: "col", "aria-hidden": "true" }),
          element("th", { scope: "col", class: "number" }, "now"),
          element("th", { scope: "col", class: "number" }, "training"),
        ),
      ),
      element("tbody", {}, body),
    ),
  );
}
