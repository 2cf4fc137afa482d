// One transaction explained: what arrived, what was answered and why, what became known.

import { decision } from "./alerts.js";
import { read } from "./api.js";
import { dated, moment } from "./clock.js";
import { element, replace } from "./element.js";
import { inputs, waterfall } from "./explanation.js";
import { absolute, count, money, share } from "./format.js";
import { badge, emptiness, failure, notices, waiting } from "./notice.js";
import { pageHead, panel } from "./panel.js";
import { address } from "./router.js";
import { facts } from "./table.js";

const SUGGESTIONS = 6;
const NAMES = {
  transaction_id: "Transaction",
  card_id: "Card",
  merchant_id: "Merchant",
  device_id: "Device",
  ip: "IP address",
  mcc: "Merchant category",
  country: "Country",
  channel: "Channel",
  lat: "Latitude",
  lon: "Longitude",
  account_age_days: "Age of the account, days",
  extra: "Extra",
};
const PLACES = { archive: "the archive", index: "the decision index", topic: "the topics" };

function arrived(transaction) {
  if (!transaction)
    return emptiness("What arrived is no longer kept.", "With `weir archive` running it stays readable beyond the topics' retention.");
  const known = Object.entries(NAMES).map(([field, title]) => [
    title,
    typeof transaction[field] === "object" && transaction[field] !== null ? JSON.stringify(transaction[field]) : transaction[field],
  ]);
  return facts([
    [
      "Amount",
      typeof transaction.amount_minor === "number" ? element("strong", {}, money(transaction.amount_minor, transaction.currency)) : null,
    ],
    ["Event time", typeof transaction.event_time_ms === "number" ? absolute(transaction.event_time_ms) : transaction.event_time],
    ...known,
  ]);
}

function verdict(found) {
  const { score, labels } = found;
  const label = labels.at(-1);
  const known = label && badge(label.is_fraud ? "alarm" : "well", label.is_fraud ? "Known as fraud" : "Known as genuine");
  if (!score) return element("div", { class: "verdict" }, known, element("p", { class: "headline" }, "Its answer was not found."));
  return element(
    "div",
    { class: "verdict" },
    element("div", { class: "verdict-head" }, decision(score.decision), known),
    element("p", { class: "headline" }, `Fraud probability ${share(score.probability)}`),
    found.thresholds && scale(score.probability, found.thresholds),
    score.reasons?.length > 0 &&
      element(
        "ul",
        { class: "reasons" },
        score.reasons.map((reason) => element("li", {}, reason.text)),
      ),
  );
}

/** The probability on a scale with both thresholds. */
function scale(probability, { review, decline }) {
  const at = (value) => `${(100 * Math.sqrt(value)).toFixed(2)}%`; // a root: small probabilities are where the limits lie
  return element(
    "div",
    { class: "scale" },
    element(
      "span",
      { class: "scale-bar", "aria-hidden": "true" },
      element("span", { class: "scale-value", style: { left: at(probability) } }),
      element("span", { class: "scale-limit", style: { left: at(review) } }),
      element("span", { class: "scale-limit is-decline", style: { left: at(decline) } }),
    ),
    element("p", { class: "quiet-text" }, `Review from ${share(review)}, decline from ${share(decline)}.`),
  );
}

function answered(found) {
  const { score, source } = found;
  return facts([
    ["Model", found.model && element("a", { class: "name", href: address("models", found.model) }, found.model)],
    ["Policy", found.policy && element("span", { class: "name" }, found.policy)],
    ["Tier", score?.tier],
    ["Variant", score?.variant],
    ["Flags", score?.flags?.join(", ")],
    ["Scored", typeof score?.scored_at_ms === "number" ? moment(score.scored_at_ms) : null],
    ["Rule", score?.rule],
    [
      "Stands on Kafka",
      source && element("span", { class: "name" }, `${source.topic} [${source.partition}] @ ${count(source.offset).replaceAll(",", "")}`),
    ],
    ["Appended", source?.append_ms ? absolute(source.append_ms) : null],
    ["Found in", PLACES[found.found_in] ?? found.found_in],
  ]);
}

function known(labels) {
  if (!labels.length)
    return emptiness(
      "No label has come.",
      "A charge-back, an analyst or the customer may still send one; until it matures, it counts as good.",
    );
  return element(
    "ol",
    { class: "history" },
    labels.map((label) =>
      element(
        "li",
        {},
        element("span", { class: "quiet-text" }, dated(label.at_ms, absolute(label.at_ms))),
        element(
          "span",
          {},
          badge(label.is_fraud ? "alarm" : "well", label.is_fraud ? "Fraud" : "Genuine"),
          label.source && ` by ${label.source.replaceAll("_", " ")}`,
        ),
      ),
    ),
  );
}

function parts(found) {
  const path =
    found.decision_path.length > 0
      ? element(
          "ol",
          { class: "path" },
          found.decision_path.map((step) => element("li", {}, step)),
        )
      : emptiness("The decision's path is not known.");
  return [
    found.missing.length > 0 && element("div", { class: "panel" }, notices(found.missing.map((text) => ({ state: "empty", text })))),
    element(
      "div",
      { class: "columns" },
      element(
        "div",
        { class: "stack" },
        panel("verdict-title", element("span", { class: "name" }, found.transaction_id), verdict(found)),
        panel("path-title", "How it was decided", path),
        panel(
          "why-title",
          "What made the score",
          found.features.some((one) => one.contribution !== null)
            ? waterfall(found.features)
            : emptiness("The contributions are not known.", "They need the features as they were served: `weir archive` keeps them."),
        ),
      ),
      element(
        "div",
        { class: "stack" },
        panel("arrived-title", "What arrived", arrived(found.transaction)),
        panel("labels-title", "What became known", known(found.labels)),
        panel("answer-title", "Where the answer came from", answered(found)),
      ),
    ),
    found.features.length > 0 && panel("inputs-title", "Features", inputs(found.features, found.base_currency)),
  ];
}

/** Show the page in `view`: the search, and the transaction that the address names. */
export function mount(view, route) {
  const stop = new AbortController();
  const shown = element("div", { class: "page" });
  const field = element("input", {
    class: "field",
    id: "transaction-id",
    name: "id",
    type: "search",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    value: route.name,
    placeholder: "transaction id",
  });
  const form = element(
    "form",
    {
      class: "search",
      role: "search",
      onsubmit: (event) => {
        event.preventDefault();
        const id = field.value.trim();
        if (id) location.hash = address("transaction", id);
      },
    },
    element("label", { for: "transaction-id" }, "Transaction id"),
    element("div", { class: "search-row" }, field, element("button", { type: "submit", class: "primary" }, "Explain")),
  );
  replace(
    view,
    pageHead("Why this answer?", element("p", { class: "lead" }, "What arrived, what was answered and why, and what became known since.")),
    element("section", { class: "panel", "aria-label": "Search" }, form),
    shown,
  );

  async function explain(id) {
    replace(shown, element("div", { class: "panel" }, waiting("Looking for the transaction")));
    try {
      replace(shown, parts(await read(`transactions/${encodeURIComponent(id)}`, stop.signal)));
    } catch (error) {
      if (error.name === "AbortError") return;
      replace(
        shown,
        element("div", { class: "panel" }, error.status === 404 ? emptiness(`No transaction ${id}.`, error.message) : failure(error)),
      );
      if (!("status" in error)) throw error;
    }
  }

  async function suggest() {
    try {
      const { alerts } = await read("live", stop.signal);
      replace(
        shown,
        panel(
          "recent-title",
          "Or one of the last alerts",
          alerts.length
            ? element(
                "ul",
                { class: "recent" },
                alerts
                  .slice(0, SUGGESTIONS)
                  .map((alert) =>
                    element(
                      "li",
                      {},
                      decision(alert.decision),
                      element("a", { class: "name", href: address("transaction", alert.transaction_id) }, alert.transaction_id),
                      element("span", {}, `${alert.amount} at ${alert.merchant_id}`),
                      element("span", { class: "quiet-text" }, moment(alert.at_ms)),
                    ),
                  ),
              )
            : emptiness("No alert in sight.", "Alerts appear as workers mark transactions for review or decline them."),
        ),
      );
    } catch (error) {
      if (error.name !== "AbortError") replace(shown, element("div", { class: "panel" }, failure(error)));
    }
  }

  if (route.name) explain(route.name);
  else suggest();
  return { close: () => stop.abort() };
}
