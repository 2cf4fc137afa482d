// The threshold explorer: what another threshold of alerts would have meant on days whose labels are in.

import { chart } from "./chart.js";
import { element, say } from "./element.js";
import { count, figure, percent, share, sum } from "./format.js";
import { emptiness } from "./notice.js";

const NEAR = (rows, threshold) =>
  rows.reduce(
    (best, row, place) =>
      Math.abs(Math.log(row.threshold / threshold)) < Math.abs(Math.log(rows[best].threshold / threshold)) ? place : best,
    0,
  );

function change(now, then, format) {
  if (now === null || then === null || now === undefined || then === undefined) return "";
  const by = now - then;
  if (!by) return "as today";
  return `${by > 0 ? "+" : "−"}${format(Math.abs(by))} against today`;
}

/** The panel: {node, set(report, {threshold, currency}), close}. `moved(threshold)` is told where the slider stands. */
export function thresholdPanel(wanted, moved) {
  let rows = [];
  let today = null;
  let place = 0;
  let currency = "";
  let isMoved = wanted !== null;
  const slider = element("input", {
    type: "range",
    min: 0,
    max: 0,
    step: 1,
    value: 0,
    id: "threshold",
    oninput: () => {
      place = Number(slider.value);
      isMoved = true;
      moved(rows[place].threshold);
      show();
    },
  });
  const reading = element("output", { for: "threshold", class: "threshold-value" });
  const reset = element(
    "button",
    {
      type: "button",
      class: "quiet",
      onclick: () => {
        place = today ?? 0;
        isMoved = false;
        moved(null);
        show();
      },
    },
    "Back to today's",
  );
  const cells = ["Alerts a day", "Precision", "Recall", "Fraud caught a day", "Fraud missed a day"].map((title) => ({
    title,
    value: element("dd"),
    beside: element("dd", { class: "hint" }),
  }));
  const curves = chart({
    title: "Precision and recall",
    unit: "by threshold",
    height: 220,
    format: percent,
    axisWidth: 56,
    high: 1,
    low: 0,
    lines: [
      { label: "recall", role: "subject", format: share },
      { label: "precision", role: "beside", isDashed: true, format: share },
    ],
    x: {
      isTime: false,
      format: (value) => (Number.isInteger(value) && rows[value] ? figure(rows[value].threshold, 2) : ""),
      read: (value) => (rows[value] ? `threshold ${figure(rows[value].threshold)}` : ""),
      space: 64,
    },
  });
  const filled = element(
    "div",
    { class: "explorer" },
    element(
      "div",
      {},
      element("div", { class: "slider-head" }, element("label", { for: "threshold" }, "Alert from this fraud probability on"), reading),
      slider,
      reset,
      element(
        "dl",
        { class: "figures" },
        cells.map((cell) => element("div", {}, element("dt", {}, cell.title), cell.value, cell.beside)),
      ),
    ),
    curves.node,
  );
  const empty = element(
    "div",
    {},
    emptiness(
      "No day is mature yet.",
      "The explorer needs days whose labels have come; until then it would praise thresholds for frauds nobody has reported yet.",
    ),
  );
  const sentence = element("p", { class: "quiet-text" });
  const node = element(
    "section",
    { class: "panel", "aria-labelledby": "explorer-title" },
    element("div", { class: "panel-head" }, element("h2", { id: "explorer-title" }, "Threshold explorer"), sentence),
    filled,
    empty,
  );

  function show() {
    const row = rows[place];
    const now = today === null ? null : rows[today];
    slider.max = rows.length - 1;
    slider.value = place;
    const values = [
      [figure(row.alerts_per_day), change(row.alerts_per_day, now?.alerts_per_day, figure)],
      [share(row.precision), change(row.precision, now?.precision, share)],
      [share(row.recall), change(row.recall, now?.recall, share)],
      [sum(row.caught_minor, currency), change(row.caught_minor, now?.caught_minor, (value) => sum(value, currency))],
      [sum(row.missed_minor, currency), change(row.missed_minor, now?.missed_minor, (value) => sum(value, currency))],
    ];
    values.forEach(([value, beside], at) => {
      say(cells[at].value, value);
      say(cells[at].beside, beside);
    });
    say(reading, figure(row.threshold));
    reset.disabled = today === null || place === today;
    slider.setAttribute(
      "aria-valuetext",
      `${figure(row.threshold)}: ${values[0][0]} alerts a day, precision ${values[1][0]}, recall ${values[2][0]}`,
    );
    curves.mark([...(today === null ? [] : [{ value: today, axis: "x", text: "today" }]), { value: place, axis: "x", isStrong: true }]);
  }

  return {
    node,
    set(report, { threshold, currency: code }) {
      rows = report?.thresholds ?? [];
      currency = code;
      filled.hidden = !rows.length;
      empty.hidden = rows.length > 0;
      if (!rows.length) return;
      today = threshold === null ? null : NEAR(rows, threshold);
      if (!isMoved) place = today ?? Math.floor(rows.length / 2);
      else if (wanted !== null) place = NEAR(rows, wanted);
      place = Math.min(place, rows.length - 1);
      wanted = null;
      say(sentence, `On ${count(report.n_matured_days)} matured days.`);
      const now = today === null ? null : rows[today];
      curves.set([rows.map((_, at) => at), rows.map((row) => row.recall), rows.map((row) => row.precision)], {
        sentence: now
          ? `Today's threshold of ${figure(threshold)} alerts ${figure(now.alerts_per_day)} times a day, with precision ${share(now.precision)} and recall ${share(now.recall)}.`
          : "The champion's threshold is not known.",
      });
      show();
    },
    close: curves.close,
  };
}
