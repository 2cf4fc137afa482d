// Is the challenger better? A trial with its evidence, day by day, and what followed from it.

import { chart } from "./chart.js";
import { dated, moment } from "./clock.js";
import { element, replace } from "./element.js";
import { absolute, count, date, day, minute, plural, share } from "./format.js";
import { commands } from "./notice.js";
import { panel } from "./panel.js";
import { address } from "./router.js";
import { facts, table } from "./table.js";

const WORDS = {
  running: "in force",
  promoted: "promoted",
  rolled_back: "rolled back",
  inconclusive: "undecided",
  ended: "ended",
};
// The axis is logarithmic: evidence multiplies. What lies outside tells nothing more.
const LEAST = 0.01;
const MOST = 1e6;
const MOST_TICKS = 8;
const power = (value) => Math.log10(Math.min(MOST, Math.max(LEAST, value)));

/** Evidence as people read it: "0.03", "4.1", "57", "over a million". */
function odds(value) {
  if (value > MOST) return "over a million";
  return value < 10 ? value.toFixed(value < 1 ? 2 : 1) : count(value);
}

const modelLink = (name) => element("a", { class: "name", href: address("models", name) }, name);

function kind(trial) {
  return trial.mode === "shadow" ? "shadow: decides nothing" : `canary: decides for ${share(trial.percent / 100)} of the cards`;
}

function evidenceChart() {
  return chart({
    title: "Evidence",
    unit: "to 1, after each matured day",
    height: 220,
    low: power(LEAST),
    format: (value) => odds(10 ** value),
    axisWidth: 72,
    lines: [
      { label: "for the challenger", role: "subject" },
      { label: "for the champion", role: "beside", isDashed: true },
    ],
    x: { isTime: true, read: date, format: day, splits: (u) => u.data[0].filter((_, place, all) => place % Math.ceil(all.length / MOST_TICKS) === 0) },
    empty: "No day has matured yet.",
  });
}

function dayTable() {
  return table({
    caption: "Matured days, newest first: frauds that one model alone caught, one per card, at equal numbers of alerts",
    isCaptionSeen: true,
    key: (row) => String(row.day_ms),
    most: 7,
    columns: [
      { title: "Day", isHeader: true, cell: (row) => dated(row.day_ms, date(row.day_ms)) },
      { title: "Transactions", isNumber: true, cell: (row) => count(row.n_rows) },
      { title: "Alerts each", isNumber: true, cell: (row) => (row.is_comparable ? count(row.n_champion_alerts) : "not comparable") },
      { title: "Known frauds", isNumber: true, cell: (row) => count(row.n_frauds) },
      { title: "Both caught", isNumber: true, cell: (row) => count(row.n_both) },
      { title: "Challenger alone", isNumber: true, cell: (row) => count(row.n_challenger_only) },
      { title: "Champion alone", isNumber: true, cell: (row) => count(row.n_champion_only) },
    ],
  });
}

const part = (n, of) => (of ? share(n / of) : "–");

function windowTable() {
  return table({
    caption: "The last five-minute windows, newest first: harm that needs no label",
    isCaptionSeen: true,
    key: (row) => String(row.from_ms),
    most: 6,
    columns: [
      { title: "From", isHeader: true, cell: (row) => element("time", { title: absolute(row.from_ms) }, minute(row.from_ms)) },
      { title: "Answers", isNumber: true, cell: (row) => count(row.n) },
      { title: "Challenger decides", isNumber: true, cell: (row) => count(row.n_challenger) },
      { title: "Alerts of these", isNumber: true, cell: (row) => part(row.n_challenger_alerts, row.n_challenger) },
      { title: "Alerts in shadow", isNumber: true, cell: (row) => part(row.n_shadow_alerts, row.n_shadow) },
      { title: "Not full model", isNumber: true, cell: (row) => part(row.n_not_full, row.n) },
      { title: "Harm", cell: (row) => row.harm || "none" },
    ],
  });
}

/** The panel of one trial: {node, set(trial), close}. */
function trialPanel(id, isOpen) {
  const title = element("span");
  const sentence = element("p", { class: "chart-sentence" });
  const list = element("div");
  const drawn = evidenceChart();
  const days = dayTable();
  const windows = windowTable();
  const evidence = element("div", { class: "stack" }, drawn.node, days.node, windows.node);
  const body = isOpen ? evidence : element("details", {}, element("summary", {}, "Show the evidence"), evidence);
  const node = panel(id, title, element("div", { class: "stack" }, sentence, list, body));

  return {
    node,
    set(trial) {
      const found = trial.evidence;
      replace(title, isOpen ? "On trial: " : "Trial: ", modelLink(trial.model), " ", element("span", { class: "tag" }, WORDS[trial.outcome]));
      replace(sentence, commands(trial.trouble ? `It needs somebody: ${trial.trouble}` : trial.sentence));
      replace(
        list,
        facts([
          ["Compared with", modelLink(trial.champion)],
          ["How", kind(trial)],
          ["Since", moment(trial.started_ms)],
          ["Ended", trial.ended_ms && moment(trial.ended_ms)],
          ["Evidence for the challenger", `${odds(found.e_promote)} to 1`],
          ["Evidence for the champion", `${odds(found.e_roll_back)} to 1`],
          ["Fraud caught by one alone", `challenger ${plural(found.n_challenger_only, "card")}, champion ${plural(found.n_champion_only, "card")}`],
          ["Matured days", `${count(found.n_days)} of at most ${count(trial.most_days)}`],
          ["Waiting for labels", trial.outcome === "running" && plural(trial.n_waiting, "transaction")],
        ]),
      );
      const { course, enough } = trial;
      drawn.set([course.map(([at]) => at), course.map(([, e]) => power(e)), course.map(([, , e]) => power(e))], {
        sentence: `At ${count(enough)} to 1 for either the trial ends; a trial of equals ends so in less than 5 % of cases.`,
        limits: [{ value: power(enough), text: `${count(enough)} to 1 decides` }],
      });
      days.set(trial.days.toReversed());
      windows.node.hidden = trial.windows.length === 0;
      windows.set(trial.windows.map((row, place) => ({ ...row, harm: trial.harms[place] })).toReversed());
    },
    close: drawn.close,
  };
}

/** The trials, the one in force open and first: {node, set(trials), close}. */
export function trialPanels() {
  const node = element("div", { class: "page" });
  const known = new Map();
  return {
    node,
    set(trials) {
      const wanted = trials.map((trial) => {
        const isOpen = trial.outcome === "running";
        const name = `trial-${trial.started_ms}-${isOpen ? "open" : "over"}`;
        if (!known.has(name)) known.set(name, trialPanel(name, isOpen));
        known.get(name).set(trial);
        return name;
      });
      for (const [name, shown] of known) {
        if (wanted.includes(name)) continue;
        shown.close();
        shown.node.remove();
        known.delete(name);
      }
      wanted.forEach((name, place) => {
        const one = known.get(name).node;
        if (node.children[place] !== one) node.insertBefore(one, node.children[place] ?? null);
      });
      node.hidden = trials.length === 0;
    },
    close() {
      for (const shown of known.values()) shown.close();
    },
  };
}
