// One feature opened: how it differs from training, since when, and whether that is more than noise.

import { follow } from "./api.js";
import { chart } from "./chart.js";
import { element, replace } from "./element.js";
import { count, index, minute, percent, share } from "./format.js";
import { histogram } from "./histogram.js";
import { incidentPanel } from "./incidents.js";
import { emptiness, failure, sign, waiting, word } from "./notice.js";
import { panel } from "./panel.js";
import { address } from "./router.js";
import { facts } from "./table.js";

const EVERY_MS = 15_000;

function course(answer) {
  const known = answer.history.filter((point) => point.psi !== null);
  if (!known.length) return "";
  const over = known.filter((point) => point.psi_limit !== null && point.psi > point.psi_limit).length;
  const beyond = over
    ? `${count(over)} of ${count(known.length)} hours are beyond what noise alone reaches`
    : "no hour is beyond what noise alone reaches";
  return `${index(known.at(-1).psi)} now; ${known.some((point) => point.psi_limit !== null) ? beyond : "the noise limit is not known yet"}.`;
}

const noise = (limit) => (limit === null ? "" : ` (noise reaches ${index(limit)})`);

/** Show feature `name` in `view`: {close}. */
export function mountFeature(view, name, window) {
  const lead = element("p", { class: "lead" });
  const values = element("div", {}, waiting("Loading the feature"));
  const psi = chart({
    title: "PSI over time",
    unit: "against training",
    height: 260,
    format: (value) => value.toFixed(2),
    axisWidth: 48,
    lines: [
      { label: "limit", isEdge: true },
      { label: "zero", isEdge: true },
      { label: "against training", role: "subject", format: index },
    ],
    bands: [[0, 1]],
    bandLabel: "noise alone",
    empty: "No hour has been evaluated yet: the first appears when an hour of event time is over.",
    level: "h2",
    x: { isTime: true, read: minute },
  });
  const missing = chart({
    title: "Missing",
    unit: "share of transactions",
    height: 200,
    format: percent,
    axisWidth: 60,
    least: 0.1,
    level: "h2",
    lines: [{ label: "missing", role: "subject", format: share }],
    empty: "No hour has been evaluated yet.",
    x: { isTime: true, read: minute },
  });
  const about = element("div");
  const incidents = incidentPanel();
  const problem = element("div");
  replace(
    view,
    element(
      "div",
      { class: "page-head" },
      element(
        "div",
        {},
        element("p", { class: "crumb" }, element("a", { href: address("drift", "", { window }) }, "← All features")),
        element("h1", { tabindex: -1, class: "name" }, name),
        lead,
      ),
    ),
    problem,
    element(
      "div",
      { class: "columns" },
      element(
        "div",
        { class: "stack" },
        panel("values-title", "Values, now against training", values),
        element("section", { class: "panel", "aria-label": "Figures" }, about),
      ),
      element("section", { class: "panel charts", "aria-label": "Over time" }, psi.node, missing.node),
    ),
    incidents.node,
  );

  const asked = follow(
    `drift/${encodeURIComponent(name)}?window=${window}`,
    EVERY_MS,
    (answer) => {
      const { row, history } = answer;
      replace(problem);
      replace(
        lead,
        sign(row.state, 18),
        element(
          "span",
          {},
          element("span", { class: "unseen" }, `${word(row.state)}: `),
          element("span", { class: "what" }, `${row.description[0].toUpperCase()}${row.description.slice(1)}. `),
          row.sentence,
          row.why_not && !row.sentence.includes(row.why_not) && ` It raises no alarm: ${row.why_not}.`,
        ),
      );
      replace(values, histogram(answer.histogram, row, answer.base_currency, window));
      const xs = history.map((point) => point.at_ms);
      psi.set(
        history.some((point) => point.psi !== null)
          ? [
              xs,
              history.map((point) => point.psi_limit),
              history.map((point) => (point.psi_limit === null ? null : 0)),
              history.map((point) => point.psi),
            ]
          : [[], [], [], []],
        { sentence: course(answer) },
      );
      missing.set(history.some((point) => point.missing !== null) ? [xs, history.map((point) => point.missing)] : [[], []], {
        sentence: row.missing === null ? "" : `${share(row.missing)} now, ${share(row.missing_reference)} in training.`,
        limits: row.missing_reference === null ? [] : [{ value: row.missing_reference, text: `training ${share(row.missing_reference)}` }],
      });
      replace(
        about,
        facts([
          ["Transactions in the window", count(row.n_rows)],
          ["Importance to the model", row.importance === null ? null : share(row.importance)],
          ["PSI against training", row.psi === null ? null : index(row.psi) + noise(row.psi_limit)],
          ["PSI against earlier weeks", row.psi_past === null ? null : index(row.psi_past) + noise(row.psi_past_limit)],
          ["Jensen–Shannon divergence", row.js === null ? null : `${index(row.js)} bits`],
          ["Kolmogorov–Smirnov distance", index(row.ks)],
          ["Wasserstein distance", row.w1 === null ? null : `${index(row.w1)} bins`],
          ["Unit", row.unit],
        ]),
      );
      incidents.node.hidden = !answer.incidents.length;
      incidents.set({ incidents: answer.incidents, models: [], now_ms: history.at(-1)?.at_ms ?? null, window, hasBaseline: true });
    },
    (error) => {
      replace(problem, failure(error));
      if (error.status === 404)
        replace(values, emptiness(`Nothing is known of ${name}.`, "The list of all features links to those that are counted."));
    },
  );
  return {
    again: asked.again,
    close() {
      asked.close();
      psi.close();
      missing.close();
    },
  };
}
