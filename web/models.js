// Which model serves, where it came from, how it did, and what its card says.

import { follow } from "./api.js";
import { dated, moment } from "./clock.js";
import { element, replace } from "./element.js";
import { count, date, figure, index, percent, plural, share } from "./format.js";
import { markdown } from "./markdown.js";
import { emptiness, failure, featureLink, waiting } from "./notice.js";
import { pageHead, panel, tell } from "./panel.js";
import { trialPanels } from "./rollout.js";
import { address } from "./router.js";
import { facts, table } from "./table.js";

const EVERY_MS = 15_000;

const aliasTags = (aliases) =>
  aliases.map((alias) => [" ", element("span", { class: `tag${alias === "champion" ? " is-first" : ""}` }, alias)]);

function modelTable() {
  return table({
    caption: "Models of the registry, newest first",
    key: (row) => row.model,
    most: 8,
    columns: [
      {
        title: "Model",
        isHeader: true,
        cell: (row) => [element("a", { class: "name", href: address("models", row.model) }, row.model), aliasTags(row.aliases)],
      },
      { title: "Registered", cell: (row) => moment(row.registered_ms) },
      { title: "Trained on", cell: (row) => `${date(row.trained_from_ms)} – ${date(row.trained_to_ms)}` },
      { title: "Transactions", isNumber: true, cell: (row) => count(row.n_rows) },
      { title: "Frauds", isNumber: true, cell: (row) => count(row.n_frauds) },
      { title: "Average precision", isNumber: true, cell: (row) => index(row.average_precision) },
      { title: "ROC AUC", isNumber: true, cell: (row) => index(row.roc_auc) },
      { title: "Serves on", isNumber: true, cell: (row) => (row.n_workers ? plural(row.n_workers, "worker") : "–") },
    ],
  });
}

function historyList(events) {
  if (!events.length) return emptiness("Nothing has happened to it yet.");
  return element(
    "ol",
    { class: "history" },
    events
      .slice(0, 30)
      .map((event) =>
        element(
          "li",
          {},
          element("span", { class: "quiet-text" }, dated(event.time_ms, date(event.time_ms))),
          element(
            "span",
            {},
            event.model && [element("a", { class: "name", href: address("models", event.model) }, event.model), " "],
            element("strong", {}, event.what),
            event.who && ` by ${event.who}`,
            event.why && element("span", { class: "beside" }, event.why),
          ),
        ),
      ),
  );
}

const METRICS = {
  average_precision: "Average precision",
  roc_auc: "ROC AUC",
  brier: "Brier score",
  calibration_error: "Calibration error",
  card_precision_at_100: "Precision of the first 100 cards",
  "recall_at_fpr_0.001": "Recall at 0.1 % false alarms",
  "recall_at_fpr_0.01": "Recall at 1 % false alarms",
};

function metricTable(model) {
  const keys = [...new Set(Object.values(model.metrics).flatMap((found) => Object.keys(found)))].filter(
    (key) => METRICS[key] && Object.values(model.metrics).some((found) => typeof found[key] === "number"),
  );
  const grid = table({
    caption: "Metrics on the calibration slice, by model: a first look, not a test",
    isCaptionSeen: true,
    key: (row) => row.name,
    columns: [
      { title: "Model", isHeader: true, cell: (row) => row.name.replaceAll("_", " ") },
      { title: "Weight", isNumber: true, cell: (row) => (row.weight === undefined ? "–" : share(row.weight)) },
      ...keys.map((key) => ({
        title: METRICS[key],
        isNumber: true,
        cell: (row) => (key === "brier" ? figure(row.found[key]) : index(row.found[key])),
      })),
    ],
  });
  const rank = (name) => (name === "ensemble" ? 0 : model.weights[name] === undefined ? 2 : 1);
  grid.set(
    Object.entries(model.metrics)
      .sort(([a], [b]) => rank(a) - rank(b))
      .map(([name, found]) => ({ name, found, weight: model.weights[name] })),
  );
  return grid.node;
}

function importanceTable(model) {
  const top = Math.max(...model.importance.map((one) => one.share));
  const grid = table({
    caption: "The weightiest features, by share of the booster's gain",
    isCards: false,
    key: (row) => row.feature,
    most: 10,
    columns: [
      {
        title: "Feature",
        isHeader: true,
        cell: (row) => [featureLink(row.feature), element("span", { class: "beside" }, row.description)],
      },
      {
        title: "Importance",
        isNumber: true,
        cell: (row) =>
          element(
            "span",
            { class: "with-bar" },
            element(
              "span",
              { class: "bar", "aria-hidden": "true" },
              element("span", { class: "bar-fill", style: { width: `${(100 * row.share) / top}%` } }),
            ),
            percent(row.share),
          ),
      },
    ],
  });
  grid.set(model.importance);
  return grid.node;
}

function thresholdTable(model) {
  const grid = table({
    caption: "Thresholds by tier",
    isCards: false,
    key: (row) => row.tier,
    columns: [
      { title: "Tier", isHeader: true, cell: (row) => row.tier },
      { title: "Review from", isNumber: true, cell: (row) => share(row.review) },
      { title: "Decline from", isNumber: true, cell: (row) => share(row.decline) },
    ],
  });
  grid.set(Object.entries(model.thresholds).map(([tier, found]) => ({ tier, ...found })));
  return grid.node;
}

function modelParts(model, history) {
  const { row } = model;
  return [
    panel(
      "model-title",
      [element("span", { class: "name" }, row.model), aliasTags(row.aliases)],
      facts([
        ["Trained on", `${date(row.trained_from_ms)} – ${date(row.trained_to_ms)}`],
        ["Transactions", `${count(row.n_rows)}, ${count(row.n_frauds)} of them known frauds`],
        ["Registered", moment(row.registered_ms)],
        ["Serves on", row.n_workers ? plural(row.n_workers, "worker") : "no worker now"],
        ["Feature definition", element("span", { class: "name" }, model.spec)],
        ["Policy", element("span", { class: "name" }, model.policy)],
        ["Base currency", model.base_currency],
      ]),
    ),
    panel("metrics-title", "How it did", metricTable(model)),
    element(
      "div",
      { class: "columns" },
      panel("importance-title", "What it looks at", importanceTable(model)),
      element(
        "div",
        { class: "stack" },
        panel("policy-title", "Thresholds", thresholdTable(model)),
        panel("libraries-title", "Made with", facts(Object.entries(model.libraries))),
      ),
    ),
    element(
      "div",
      { class: "columns" },
      panel("card-title", "Model card", element("div", { class: "prose" }, markdown(model.card))),
      history,
    ),
  ];
}

/** Show the page in `view`: the model that the address names, else the champion. */
export function mount(view, route, { feed }) {
  const lead = element("p", { class: "lead" }, "Looking…");
  const rows = modelTable();
  const list = panel("models-title", "Registry", rows.node);
  list.hidden = true;
  const trials = trialPanels();
  const shown = element("div", { class: "page" });
  const history = element("div");
  const rest = element("div", { class: "panel" }, waiting("Loading models"));
  replace(
    view,
    pageHead("Which model serves?", lead),
    rest,
    trials.node,
    list,
    shown,
  );
  let asked = { close() {}, again() {} };
  let open = null;

  function openModel(name) {
    if (name === open) return;
    asked.close();
    open = name;
    replace(shown, element("div", { class: "panel" }, waiting("Loading the model")));
    asked = follow(
      `models/${encodeURIComponent(name)}`,
      2 * EVERY_MS,
      (model) => replace(shown, modelParts(model, history)),
      (error) => {
        replace(shown, element("div", { class: "panel" }, failure(error)));
      },
    );
  }

  const all = follow(
    "models",
    EVERY_MS,
    (answer) => {
      tell(lead, answer);
      rest.hidden = answer.models.length > 0;
      list.hidden = !answer.models.length;
      replace(rest, emptiness("The registry is empty.", "Train a model with `weir train HISTORY`; the first one becomes the champion."));
      rows.set(answer.models);
      trials.set(answer.trials);
      replace(history, answer.history.length > 0 && panel("registry-history-title", "What happened", historyList(answer.history)));
      const wanted = route.name || answer.champion || answer.models[0]?.model;
      if (wanted) openModel(wanted);
    },
    (error) => {
      rest.hidden = false;
      replace(rest, failure(error));
      if (open === null) replace(lead);
    },
  );
  const again = () => {
    all.again();
    asked.again();
  };
  feed.addEventListener("resumed", again);
  return {
    close() {
      all.close();
      asked.close();
      trials.close();
      feed.removeEventListener("resumed", again);
    },
  };
}
