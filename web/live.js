// Is it well? In words first; then what changed, the last alerts, and the stream in figures.

import { alertList } from "./alerts.js";
import { follow } from "./api.js";
import { chart } from "./chart.js";
import { moment } from "./clock.js";
import { drawing, element, replace, say } from "./element.js";
import { absolute, count, figure, latency, rate, share } from "./format.js";
import { commands, failure, notices, sign, split, word } from "./notice.js";
import { workerPanel } from "./workers.js";

const HISTORY_MS = 600_000;
const SECOND_MS = 1_000;

/** The words of the first screen. */
function statusPanel() {
  const headline = element("p", { class: "headline" }, "Looking…");
  const mark = element("span", { class: "headline-sign" });
  const found = element("div", { class: "changes" });
  const node = element(
    "section",
    { class: "panel status", "aria-labelledby": "status-title" },
    element(
      "div",
      { class: "status-main" },
      mark,
      element("div", {}, element("h1", { id: "status-title", tabindex: -1, class: "kicker" }, "Is it well?"), headline),
    ),
    found,
  );
  return {
    node,
    set(status) {
      node.className = `panel status is-${status.state}`;
      replace(mark, sign(status.state, 40), element("span", { class: "unseen" }, `${word(status.state)}.`));
      const [first, rest] = split(status.headline);
      replace(headline, commands(first.replace(/;$/, ".")), rest && element("span", { class: "headline-rest" }, commands(rest)));
      // What the headline has said whole is not said again.
      const others = status.sentences.filter((one, place) => place > 0 || one.state === "well" || !status.headline.startsWith(one.text));
      replace(found, others.length > 0 && [element("h2", { class: "kicker" }, "What to know"), notices(others)]);
    },
    fail(error) {
      node.className = "panel status is-attention";
      replace(mark, sign("attention", 40));
      say(headline, "Not known: the service does not answer.");
      replace(found, failure(error));
    },
  };
}

/** The figures of the moment. */
function figuresPanel() {
  const cells = new Map();
  const cell = (key, title, hint) => {
    const value = element("dd", {}, "–");
    const beside = element("dd", { class: "hint" }, hint);
    cells.set(key, { value, beside });
    return element("div", {}, element("dt", {}, title), value, beside);
  };
  const bar = drawing("svg", { class: "mix", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" });
  const beside = element("p", { class: "beside-line" });
  const node = element(
    "section",
    { class: "panel", "aria-labelledby": "now-title" },
    element("div", { class: "panel-head" }, element("h2", { id: "now-title" }, "Now"), element("p", { class: "quiet-text", id: "newest" })),
    element(
      "dl",
      { class: "figures" },
      cell("rate", "Scored", "last 5 s"),
      cell("p50", "Half within", "append to answer"),
      cell("p99", "99 of 100 within", "append to answer"),
      cell("lag", "Waiting", "records"),
    ),
    element("h3", {}, "Decisions", element("span", { class: "unit" }, " a minute")),
    bar,
    element("dl", { class: "figures is-small" }, cell("approve", "Approved"), cell("review", "Review"), cell("decline", "Declined")),
    beside,
  );
  const put = (key, text, hint) => {
    say(cells.get(key).value, text);
    if (hint !== undefined) say(cells.get(key).beside, hint);
  };
  return {
    node,
    set(live) {
      const { decisions } = live;
      const total = decisions.approve + decisions.review + decisions.decline;
      put("rate", rate(live.rate_per_s));
      put("p50", latency(live.latency_ms.p50));
      put("p99", latency(live.latency_ms.p99));
      put("lag", count(live.lag));
      for (const key of ["approve", "review", "decline"]) put(key, count(decisions[key]), total ? share(decisions[key] / total) : "");
      let from = 0;
      replace(
        bar,
        ["approve", "review", "decline"].map((key) => {
          const width = total ? (100 * decisions[key]) / total : 0;
          const part = drawing("rect", { class: `mix-${key}`, x: from, y: 0, width: decisions[key] ? Math.max(width, 0.8) : 0, height: 4 });
          from += width;
          return part;
        }),
      );
      const others = [...Object.entries(live.tiers).filter(([tier]) => tier !== "full"), ...Object.entries(live.flags)].filter(
        ([, n]) => n > 0,
      );
      const texts = others.map(([name, n]) => `${name.replaceAll("_", " ")} ${figure(n, 2)}`);
      if (live.dead_letters_per_min) texts.push(`dead letters ${figure(live.dead_letters_per_min, 2)}`);
      say(beside, texts.length ? `Also, a minute: ${texts.join(" · ")}` : "");
      const newest = node.querySelector("#newest");
      say(newest, live.event_ms ? `newest event ${absolute(live.event_ms)}` : "");
    },
  };
}

const mean = (values) => values.reduce((total, value) => total + value, 0) / values.length;

/** The last ten minutes as charts; they grow by the events. */
function historyCharts() {
  const rates = chart({
    title: "Transactions scored",
    unit: "a second",
    lines: [{ label: "rate", role: "subject" }],
    format: (value) => count(value),
    height: 168,
    x: { isTime: true, range: lastMinutes },
    empty: "Nothing was scored in the last 10 minutes.",
  });
  const times = chart({
    title: "Latency",
    unit: "ms, append to answer",
    lines: [
      { label: "99 of 100", role: "subject" },
      { label: "half", role: "beside" },
    ],
    format: (value) => figure(value),
    height: 168,
    x: { isTime: true, range: lastMinutes },
    empty: "Nothing was answered in the last 10 minutes.",
  });
  let rateRows = [];
  let timeRows = [];
  let newest_ms = 0;
  let limit = null;

  function lastMinutes() {
    return [newest_ms - HISTORY_MS, newest_ms];
  }

  function draw() {
    rateRows = rateRows.filter(([at_ms]) => at_ms >= newest_ms - HISTORY_MS);
    timeRows = timeRows.filter(([at_ms]) => at_ms >= newest_ms - HISTORY_MS);
    const known = rateRows.map(([, value]) => value).filter((value) => value !== null);
    const p99 = timeRows.map(([, , value]) => value).filter((value) => value !== null);
    const over = limit === null ? 0 : p99.filter((value) => value > limit).length;
    rates.set(known.length ? [0, 1].map((row) => rateRows.map((one) => one[row])) : [[], []], {
      sentence: known.length
        ? `Between ${count(Math.min(...known))} and ${count(Math.max(...known))} a second in the last 10 minutes, ${count(mean(known))} on average.`
        : "",
    });
    times.set(p99.length ? [0, 2, 1].map((row) => timeRows.map((one) => one[row])) : [[], [], []], {
      sentence: p99.length
        ? `99 of 100 answers came within ${latency(p99.at(-1))} just now; at worst ${latency(Math.max(...p99))}.${limit === null ? "" : over ? ` Above the limit in ${share(over / p99.length)} of the time.` : " Always below the limit."}`
        : "",
      limits: limit === null ? [] : [{ value: limit, text: `limit ${latency(limit)}` }],
    });
  }

  return {
    nodes: [rates.node, times.node],
    fill(live) {
      rateRows = live.rate_history.map((one) => [...one]);
      timeRows = live.latency_history.map((one) => [...one]);
      newest_ms = live.at_ms;
      limit = live.latency_ms.p99_limit ?? null;
      draw();
    },
    add(live) {
      if (live.at_ms - newest_ms < SECOND_MS / 2) return;
      newest_ms = live.at_ms;
      limit = live.latency_ms.p99_limit ?? null;
      rateRows.push([live.at_ms, live.rate_per_s]);
      timeRows.push([live.at_ms, live.latency_ms.p50, live.latency_ms.p99]);
      if (!document.hidden) draw();
    },
    close() {
      rates.close();
      times.close();
    },
  };
}

/** Show the page in `view`. */
export function mount(view, _route, { feed, spoken, status }) {
  const words = statusPanel();
  const figures = figuresPanel();
  const charts = historyCharts();
  const workers = workerPanel();
  const alerts = alertList(spoken);
  const problem = element("div");
  const history = element("section", { class: "panel charts", "aria-label": "The last 10 minutes" }, charts.nodes);
  replace(
    view,
    words.node,
    problem,
    element("div", { class: "live" }, alerts.node, element("div", { class: "live-side" }, figures.node, history), workers.node),
  );

  const now = (live) => {
    figures.set(live);
    workers.set(live.workers);
  };
  const onLive = (event) => {
    now(event.detail);
    charts.add(event.detail);
  };
  const onAlert = (event) => alerts.add(event.detail);
  const showWords = () => (status.error ? words.fail(status.error) : status.answer && words.set(status.answer));
  showWords();
  // The whole picture once for each connection; from then on the events carry it.
  let isFilled = false;
  const whole = follow(
    "live",
    30_000,
    (live) => {
      replace(problem);
      now(live);
      charts.fill(live);
      alerts.fill(live.alerts);
      isFilled = true;
    },
    (error) => isFilled || replace(problem, failure(error)),
  );
  const onResumed = () => whole.again();
  feed.addEventListener("live", onLive);
  feed.addEventListener("alert", onAlert);
  status.addEventListener("change", showWords);
  feed.addEventListener("resumed", onResumed);
  return {
    close() {
      whole.close();
      charts.close();
      alerts.close();
      feed.removeEventListener("live", onLive);
      feed.removeEventListener("alert", onAlert);
      status.removeEventListener("change", showWords);
      feed.removeEventListener("resumed", onResumed);
    },
  };
}
