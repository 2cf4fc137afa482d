// How good the model really is, given that labels come late.

import { follow } from "./api.js";
import { calibrationPanel } from "./calibration.js";
import { chart } from "./chart.js";
import { dated } from "./clock.js";
import { element, replace, say } from "./element.js";
import { count, date, day, index, percent, plural, share, sum } from "./format.js";
import { emptiness, failure, notices, waiting } from "./notice.js";
import { pageHead, panel, tell } from "./panel.js";
import { amend } from "./router.js";
import { facts, table } from "./table.js";
import { thresholdPanel } from "./threshold.js";

const EVERY_MS = 30_000;
const DAY_MS = 86_400_000;

const mean = (values) => (values.length ? values.reduce((total, value) => total + value, 0) / values.length : null);

/** The share over several days together: each day weighs as much as it has alerts, or frauds. */
function pooled(days, field) {
  const rows = days
    .filter((one) => typeof one[field]?.value === "number")
    .map((one) => [one[field].value, field === "precision" ? one.n_alerts : (one.frauds.value ?? one.n_frauds)]);
  const weight = rows.reduce((total, [, by]) => total + by, 0);
  return weight ? rows.reduce((total, [value, by]) => total + value * by, 0) / weight : null;
}

function dayChart(title, unit, noun) {
  return {
    noun,
    drawn: chart({
      title,
      unit,
      height: 232,
      format: percent,
      axisWidth: 56,
      isNear: true,
      high: 1,
      level: "h2",
      lines: [
        { label: "upper", isEdge: true },
        { label: "lower", isEdge: true },
        { label: "expected by scores alone", role: "beside", isDashed: true, format: share },
        { label: `${noun}, corrected`, role: "subject", isDotted: true, format: share },
      ],
      bands: [[0, 1]],
      bandLabel: "95 % interval",
      hatchLabel: "provisional",
      x: { isTime: true, read: day },
      empty: "No day has labels yet.",
    }),
  };
}

function drawDays({ noun, drawn }, days, field) {
  const rows = days.map((one) => one[field]);
  const pick = (key) => rows.map((row) => row?.[key] ?? null);
  const first = days.find((one) => one.is_provisional);
  const old = days.filter((one) => !one.is_provisional);
  const matured = old.map((one) => one[field]?.value).filter((value) => typeof value === "number");
  const young = days.filter((one) => one.is_provisional).length;
  const free = mean(days.map((one) => one[field]?.label_free).filter((value) => typeof value === "number"));
  const parts = [
    matured.length
      ? `${share(pooled(old, field))} over ${plural(matured.length, "matured day")}, between ${share(Math.min(...matured))} and ${share(Math.max(...matured))} a day.`
      : `No day is mature yet: all ${plural(young, "day")} are provisional.`,
    !matured.length ? "" : young ? `The newest ${plural(young, "day")} ${young === 1 ? "is" : "are"} provisional.` : "",
    free === null ? "" : `The scores alone expect ${share(free)}, if the concept is unchanged.`,
  ];
  drawn.set(
    days.length ? [days.map((one) => one.day_ms), pick("high"), pick("low"), pick("label_free"), pick("value")] : [[], [], [], [], []],
    { sentence: parts.filter(Boolean).join(" "), hatched: first ? [first.day_ms - DAY_MS / 2, days.at(-1).day_ms + DAY_MS] : null },
  );
  return noun;
}

const STRATA = { alerted: "alerts", missed: "missed frauds" };

function delayChart() {
  return chart({
    title: "How labels come in",
    unit: "share of reported frauds known, by age in days",
    height: 232,
    format: percent,
    axisWidth: 56,
    low: 0,
    high: 1,
    level: "h2",
    lines: [
      { label: STRATA.alerted, role: "subject" },
      { label: STRATA.missed, role: "beside", isDashed: true },
    ],
    x: { isTime: false, format: (value) => `${value} d`, read: (value) => `${value} days` },
    empty: "Too few labels have come to say how they come.",
  });
}

function reach(curve, level) {
  return curve?.find(([, part]) => part >= level)?.[0] ?? null;
}

function drawDelay(drawn, curves) {
  const ages = [...new Set(Object.values(curves).flatMap((curve) => curve.map(([age]) => age)))].sort((a, b) => a - b);
  const at = (stratum) => {
    const known = new Map(curves[stratum] ?? []);
    let last = null;
    return ages.map((age) => {
      last = known.get(age) ?? last;
      return last;
    });
  };
  const texts = Object.entries(STRATA)
    .map(([stratum, title]) => [title, reach(curves[stratum], 0.9)])
    .filter(([, age]) => age !== null)
    .map(([title, age]) => `of ${title} after ${plural(Math.round(age), "day")}`);
  drawn.set(ages.length ? [ages, at("alerted"), at("missed")] : [[], [], []], {
    sentence: texts.length ? `90 % are known ${texts.join(", ")}.` : "",
  });
}

const interval = (estimate, format) =>
  estimate?.value === null || estimate?.value === undefined
    ? "not known yet"
    : `${format(estimate.value)} (${format(estimate.low)} to ${format(estimate.high)})`;

function dayTable(currency) {
  return table({
    caption: "Days, newest first; in brackets the 95 % interval",
    key: (row) => String(row.day_ms),
    most: 10,
    columns: [
      {
        title: "Day",
        isHeader: true,
        cell: (row) => [
          dated(row.day_ms, date(row.day_ms)),
          row.is_provisional && element("span", { class: "beside" }, "provisional"),
          row.note && element("span", { class: "beside" }, row.note),
        ],
      },
      { title: "Transactions", isNumber: true, cell: (row) => count(row.n) },
      { title: "Alerts", isNumber: true, cell: (row) => count(row.n_alerts) },
      { title: "Frauds known", isNumber: true, cell: (row) => count(row.n_frauds) },
      { title: "Precision", isNumber: true, cell: (row) => interval(row.precision, share) },
      { title: "Recall", isNumber: true, cell: (row) => interval(row.recall, share) },
      { title: "Caught", isNumber: true, cell: (row) => sum(row.caught.value ?? row.caught_minor, currency()) },
      { title: "Missed", isNumber: true, cell: (row) => sum(row.missed.value ?? row.missed_minor, currency()) },
      { title: "Average precision", isNumber: true, cell: (row) => index(row.ap) },
    ],
  });
}

function controlFacts(control) {
  if (!control)
    return emptiness(
      "No control sample.",
      "Set `scoring.control_scale` and a few transactions are reviewed at random: the only figure that unreported fraud cannot spoil.",
    );
  if (control.recall === null)
    return facts([
      ["Drawn at random", count(control.n)],
      ["Frauds among them", `${count(control.n_frauds)}: recall is shown from 10 on`],
    ]);
  return facts([
    ["Recall by the control sample", element("strong", {}, `${share(control.recall)} (${share(control.low)} to ${share(control.high)})`)],
    ["Drawn at random", count(control.n)],
    ["Frauds among them", count(control.n_frauds)],
  ]);
}

/** Show the page in `view`. */
export function mount(view, route, { feed }) {
  let currency = "";
  const lead = element("p", { class: "lead" }, "Looking…");
  const found = element("div");
  const precision = dayChart("Precision", "share of alerts that are fraud", "precision");
  const recall = dayChart("Recall", "share of reported fraud that was caught", "recall");
  const wanted = Number(route.query.get("threshold"));
  const explorer = thresholdPanel(wanted > 0 ? wanted : null, (threshold) =>
    amend("quality", "", { threshold: threshold === null ? "" : threshold.toPrecision(4) }),
  );
  const calibration = calibrationPanel();
  const delay = delayChart();
  const days = dayTable(() => currency);
  const control = element("div");
  const filled = element(
    "div",
    { class: "page", hidden: true },
    element(
      "div",
      { class: "columns" },
      element("section", { class: "panel", "aria-label": "Precision by day" }, precision.drawn.node),
      element("section", { class: "panel", "aria-label": "Recall by day" }, recall.drawn.node),
    ),
    explorer.node,
    element(
      "div",
      { class: "columns" },
      calibration.node,
      element(
        "div",
        { class: "stack" },
        element("section", { class: "panel", "aria-label": "Delay of labels" }, delay.node),
        panel(
          "control-title",
          "Control sample",
          control,
        ),
      ),
    ),
    element(
      "section",
      { class: "panel", "aria-labelledby": "days-title" },
      element(
        "div",
        { class: "panel-head" },
        element("h2", { id: "days-title" }, "Day by day"),
        element("p", { class: "quiet-text" }, "Fraud that is never reported cannot be seen here."),
      ),
      days.node,
    ),
  );
  const rest = element("div", { class: "panel" }, waiting("Loading quality"));
  replace(
    view,
    pageHead("How good is it?", lead),
    found,
    rest,
    filled,
  );

  const asked = follow(
    "quality",
    EVERY_MS,
    (answer) => {
      const { report } = answer;
      currency = answer.currency;
      tell(lead, answer);
      filled.hidden = !report?.days.length;
      rest.hidden = !filled.hidden;
      replace(
        rest,
        emptiness(answer.has_archive ? "No day is in the archive yet." : "There is no archive, so quality is not known.", answer.advice),
      );
      replace(
        found,
        (report?.notes.length ?? 0) > 0 &&
          element(
            "div",
            { class: "panel" },
            notices(
              report.notes.map((text) => ({ state: "attention", text })),
              true,
            ),
          ),
      );
      if (filled.hidden) return;
      drawDays(precision, report.days, "precision");
      drawDays(recall, report.days, "recall");
      explorer.set(report, answer);
      calibration.set(report.calibration);
      drawDelay(delay, report.delay_curve);
      replace(control, controlFacts(report.control));
      days.set(report.days.toReversed());
    },
    (error) => {
      rest.hidden = false;
      replace(rest, failure(error));
      say(lead, "");
    },
  );
  feed.addEventListener("resumed", asked.again);
  return {
    close() {
      asked.close();
      for (const one of [precision.drawn, recall.drawn, explorer, delay]) one.close();
      feed.removeEventListener("resumed", asked.again);
    },
  };
}
