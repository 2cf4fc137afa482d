// What changed: every feature against training and against earlier weeks, the alarms first.

import { follow } from "./api.js";
import { choice } from "./choice.js";
import { element, replace } from "./element.js";
import { mountFeature } from "./feature.js";
import { count, index, percent, plural, share } from "./format.js";
import { incidentPanel } from "./incidents.js";
import { badge, emptiness, failure, featureLink, notices, waiting, word } from "./notice.js";
import { pageHead, panel, tell } from "./panel.js";
import { address, amend } from "./router.js";
import { sparkline } from "./sparkline.js";
import { table } from "./table.js";
import { togetherPanel } from "./together.js";

const EVERY_MS = 15_000;
const FIRST_ROWS = 30;
// Ends of the bars: one wild feature must not flatten all others.
const LEAST_PSI = 0.1;
const MOST_PSI = 0.25;
const WINDOWS = [
  { value: "1h", title: "1 hour" },
  { value: "24h", title: "24 hours" },
  { value: "7d", title: "7 days" },
];
const ORDERS = {
  alarm: { title: "alarm, then importance", by: null },
  psi: { title: "PSI against training", by: (row) => -(row.psi ?? -1) },
  past: { title: "PSI against earlier weeks", by: (row) => -(row.psi_past ?? -1) },
  importance: { title: "importance", by: (row) => -(row.importance ?? -1) },
  missing: { title: "missing values", by: (row) => -(row.missing ?? -1) },
};

const windowOf = (route) => (WINDOWS.some((one) => one.value === route.query.get("window")) ? route.query.get("window") : "24h");

function bar(value, top, tick) {
  const part = (one) => `${Math.min(100, (100 * one) / top)}%`;
  return element(
    "span",
    { class: "bar", "aria-hidden": "true" },
    element("span", { class: "bar-fill", style: { width: part(value ?? 0) } }),
    tick !== null && tick !== undefined && element("span", { class: "bar-tick", style: { left: part(tick) } }),
  );
}

function columns(scale, window, judged) {
  return [
    {
      title: "State",
      cell: (row) => [
        badge(row.state, row.state === "empty" ? "Not judged" : undefined),
        row.why_not && judged() && row.state !== "alarm" && row.state !== "attention" && element("span", { class: "beside" }, row.why_not),
      ],
    },
    {
      title: "Feature",
      isHeader: true,
      cell: (row) => [featureLink(row.feature, window()), element("span", { class: "beside" }, row.description)],
    },
    {
      title: "Importance",
      isNumber: true,
      cell: (row) =>
        row.importance === null
          ? "–"
          : element("span", { class: "with-bar" }, bar(row.importance, scale().importance), percent(row.importance)),
    },
    {
      title: "PSI against training",
      isNumber: true,
      cell: (row) => element("span", { class: "with-bar" }, bar(row.psi, scale().psi, row.psi_limit), index(row.psi)),
    },
    { title: "PSI against earlier weeks", isNumber: true, cell: (row) => index(row.psi_past) },
    {
      title: "Missing",
      isNumber: true,
      cell: (row) => [
        share(row.missing),
        row.missing_reference !== null && element("span", { class: "beside" }, `was ${share(row.missing_reference)}`),
      ],
    },
    { title: "Course", cell: (row) => sparkline(row.spark, row.psi_limit) },
  ];
}

/** The table with its search, filter and order. */
function featurePanel(route) {
  let found = { features: [] };
  let window = windowOf(route);
  let scale = { psi: 0.1, importance: 0.1 };
  const wanted = {
    q: route.query.get("q") ?? "",
    state: route.query.get("state") ?? "",
    order: ORDERS[route.query.get("order")] ? route.query.get("order") : "alarm",
  };
  const rows = table({
    caption: "Features: the bar's tick is what noise alone reaches",
    isCaptionSeen: true,
    key: (row) => row.feature,
    most: FIRST_ROWS,
    columns: columns(
      () => scale,
      () => window,
      () => found.has_baseline,
    ),
  });
  const changed = () => {
    amend("drift", "", { window, ...wanted, order: wanted.order === "alarm" ? "" : wanted.order });
    show();
  };
  const search = element("input", {
    type: "search",
    class: "field",
    id: "feature-search",
    placeholder: "Find a feature",
    "aria-label": "Find a feature",
    value: wanted.q,
    oninput: (event) => {
      wanted.q = event.target.value.trim();
      changed();
    },
  });
  const option = (value, title, now) => element("option", { value, selected: value === now }, title);
  const state = element(
    "select",
    {
      class: "field",
      "aria-label": "State",
      onchange: (event) => {
        wanted.state = event.target.value;
        changed();
      },
    },
    option("", "every state", wanted.state),
    ["alarm", "attention", "well", "empty"].map((one) => option(one, one === "empty" ? "Not judged" : word(one), wanted.state)),
  );
  const order = element(
    "select",
    {
      class: "field",
      "aria-label": "Order",
      onchange: (event) => {
        wanted.order = event.target.value;
        changed();
      },
    },
    Object.entries(ORDERS).map(([value, one]) => option(value, `by ${one.title}`, wanted.order)),
  );
  const none = element("div", { hidden: true }, emptiness("No feature fits.", "Clear the search or choose every state."));
  const tally = element("p", { class: "quiet-text", role: "status" });
  const node = element(
    "section",
    { class: "panel", "aria-labelledby": "features-title" },
    element("div", { class: "panel-head" }, element("h2", { id: "features-title" }, "Features"), tally),
    element("div", { class: "filters" }, search, state, order),
    rows.node,
    none,
  );

  function show() {
    const text = wanted.q.toLowerCase();
    const by = ORDERS[wanted.order].by;
    let fitting = found.features.filter(
      (row) =>
        (!wanted.state || row.state === wanted.state) &&
        (!text || row.feature.includes(text) || row.description.toLowerCase().includes(text)),
    );
    if (by) fitting = [...fitting].sort((a, b) => by(a) - by(b));
    tally.textContent =
      fitting.length === found.features.length
        ? plural(found.features.length, "feature")
        : `${count(fitting.length)} of ${plural(found.features.length, "feature")}`;
    rows.node.hidden = !fitting.length;
    none.hidden = fitting.length > 0;
    rows.set(fitting);
  }

  return {
    node,
    set(answer) {
      found = answer;
      window = answer.window;
      const psis = answer.features.map((row) => row.psi ?? 0).sort((a, b) => b - a);
      scale = {
        psi: Math.max(LEAST_PSI, Math.min(MOST_PSI, psis[0] ?? 0)),
        importance: Math.max(0.001, ...answer.features.map((row) => row.importance ?? 0)),
      };
      node.hidden = !answer.features.length;
      show();
    },
  };
}

function scorePanel() {
  const body = element("div", { class: "score-row" });
  const node = panel("score-title", "The score itself", body);
  return {
    node,
    set(row, window) {
      node.hidden = !row;
      if (!row) return;
      replace(
        body,
        badge(row.state, row.state === "empty" ? "Not judged" : undefined),
        element("p", {}, row.sentence),
        sparkline(row.spark, row.psi_limit),
        element("a", { href: address("drift", row.feature, { window }) }, "Open the score's distribution"),
      );
    },
  };
}

function mountTable(view, route, window) {
  const lead = element("p", { class: "lead" }, "Looking…");
  const found = element("div");
  const score = scorePanel();
  const together = togetherPanel();
  const incidents = incidentPanel();
  const features = featurePanel(route);
  for (const part of [score, together, incidents, features]) part.node.hidden = true;
  const rest = element("div", { class: "panel" }, waiting("Loading drift"));
  const windows = choice("Window of event time", WINDOWS, window, (value) => {
    location.hash = address("drift", "", { window: value });
  });
  replace(
    view,
    pageHead("What changed", lead, windows.node),
    found,
    rest,
    incidents.node,
    score.node,
    together.node,
    features.node,
  );
  return follow(
    `drift?window=${window}`,
    EVERY_MS,
    (answer) => {
      tell(lead, answer);
      replace(found, answer.notices.length > 0 && element("div", { class: "panel" }, notices(answer.notices)));
      const isEmpty = !answer.features.length;
      rest.hidden = !isEmpty;
      replace(
        rest,
        isEmpty &&
          emptiness(
            "No feature has been counted yet.",
            "Workers count every transaction that they score. Start one with `weir worker`, or see it all with `weir demo`.",
          ),
      );
      score.set(answer.score, window);
      together.set(isEmpty ? null : answer.together, window);
      incidents.node.hidden = isEmpty && !answer.incidents.length;
      incidents.set({
        incidents: answer.incidents,
        models: answer.models,
        now_ms: answer.event_ms,
        window,
        hasBaseline: answer.has_baseline,
      });
      features.set(answer);
    },
    (error) => {
      rest.hidden = false;
      replace(rest, failure(error));
      if (features.node.hidden) replace(lead);
    },
  );
}

/** Show the page in `view`: the table, or one feature when the address names one. */
export function mount(view, route, { feed }) {
  const window = windowOf(route);
  const shown = route.name ? mountFeature(view, route.name, window) : mountTable(view, route, window);
  const again = () => shown.again();
  feed.addEventListener("incident", again);
  feed.addEventListener("resumed", again);
  return {
    close() {
      shown.close();
      feed.removeEventListener("incident", again);
      feed.removeEventListener("resumed", again);
    },
  };
}
