// The last alerts, newest first, with their reasons. They wait while somebody reads, and are told aloud at most every ten seconds.

import { element, replace, say } from "./element.js";
import { moment } from "./clock.js";
import { plural, share } from "./format.js";
import { emptiness, sign } from "./notice.js";
import { address } from "./router.js";

const MOST = 50;
const MOST_REASONS = 3;
// Alerts that come in a storm are shown together: nobody reads ten a second.
const TOGETHER_MS = 500;
const SPOKEN_EVERY_MS = 10_000;
const DECISIONS = {
  decline: { state: "alarm", word: "Decline" },
  review: { state: "attention", word: "Review" },
  approve: { state: "well", word: "Approve" },
};

/** Return the badge of a decision. */
export function decision(outcome) {
  const { state, word } = DECISIONS[outcome] ?? { state: "empty", word: outcome };
  return element("span", { class: `badge is-${state}` }, sign(state, 14), word);
}

const keyOf = (alert) => `${alert.transaction_id} ${alert.event_time_ms}`;

function item(alert) {
  return element(
    "li",
    { class: `alert is-${DECISIONS[alert.decision]?.state}` },
    element(
      "div",
      { class: "alert-head" },
      decision(alert.decision),
      element(
        "a",
        { class: "alert-what", href: address("transaction", alert.transaction_id) },
        element("strong", {}, alert.amount),
        ` at ${alert.merchant_id}`,
      ),
      element("span", { class: "alert-when" }, moment(alert.at_ms)),
    ),
    (alert.reasons.length > 0 || alert.rule) &&
      element(
        "ul",
        { class: "reasons" },
        alert.rule && element("li", {}, `decided by the rule ${alert.rule}`),
        alert.reasons.slice(0, MOST_REASONS).map((reason) => element("li", {}, reason.text)),
      ),
    element("p", { class: "alert-foot" }, `Fraud probability ${share(alert.probability)} · card ${alert.card_id}`),
  );
}

/** The list of alerts: {node, fill(alerts), add(alert), close()}. */
export function alertList(spoken) {
  const list = element("ol", { class: "alerts", id: "alerts" });
  const held = element("button", {
    type: "button",
    class: "held",
    hidden: true,
    onclick: () => {
      isPaused = false;
      showPause();
      release();
    },
  });
  const pause = element(
    "button",
    {
      type: "button",
      class: "quiet",
      onclick: () => {
        isPaused = !isPaused;
        showPause();
        if (!isPaused) release();
      },
    },
    "Pause",
  );
  const empty = element(
    "div",
    {},
    emptiness(
      "No alert in sight.",
      "Alerts appear here as workers mark transactions for review or decline them. `weir demo` streams some within minutes.",
    ),
  );
  const node = element(
    "section",
    { class: "panel alerts-panel", "aria-labelledby": "alerts-title" },
    element("div", { class: "panel-head" }, element("h2", { id: "alerts-title" }, "Last alerts"), pause),
    held,
    list,
    empty,
  );
  const known = new Set();
  const waiting = [];
  let isPaused = false;
  let isReading = false;
  let unspoken = [];
  let soon = 0;

  const showPause = () => {
    pause.classList.toggle("is-on", isPaused);
    say(pause, isPaused ? "Resume" : "Pause");
  };
  const showHeld = () => {
    held.hidden = !waiting.length;
    if (waiting.length)
      say(
        held,
        `${waiting.length > MOST ? `More than ${MOST} new alerts` : plural(waiting.length, "new alert")}, held while you read. Show`,
      );
  };

  function release() {
    const news = waiting.splice(0).slice(-MOST).reverse();
    if (news.length) {
      list.prepend(...news.map(item));
      while (list.children.length > MOST) list.lastChild.remove();
      empty.hidden = true;
    }
    showHeld();
  }

  function arrive() {
    soon = 0;
    if (waiting.length > MOST + 1) waiting.splice(0, waiting.length - MOST - 1);
    if (isPaused || isReading || list.contains(document.activeElement)) showHeld();
    else release();
  }

  list.addEventListener("pointerenter", () => {
    isReading = true;
  });
  list.addEventListener("pointerleave", () => {
    isReading = false;
    arrive();
  });
  list.addEventListener("focusout", () => requestAnimationFrame(arrive)); // by then the focus has arrived

  const timer = setInterval(() => {
    if (!unspoken.length) return;
    const last = unspoken.at(-1);
    say(spoken, `${plural(unspoken.length, "new alert")}; the latest: ${last.decision}, ${last.amount} at ${last.merchant_id}.`);
    unspoken = [];
  }, SPOKEN_EVERY_MS);

  return {
    node,
    /** Show those of `alerts` (newest first) that are not shown yet; the first time all at once. */
    fill(alerts) {
      if (list.children.length || waiting.length) {
        for (const alert of alerts.toReversed()) this.add(alert);
        return;
      }
      for (const alert of alerts) known.add(keyOf(alert));
      replace(list, alerts.slice(0, MOST).map(item));
      empty.hidden = alerts.length > 0;
    },
    add(alert) {
      if (known.has(keyOf(alert))) return;
      known.add(keyOf(alert));
      if (known.size > 20 * MOST) known.delete(known.values().next().value);
      waiting.push(alert);
      unspoken.push(alert);
      soon ||= setTimeout(arrive, TOGETHER_MS);
    },
    close() {
      clearInterval(timer);
      clearTimeout(soon);
    },
  };
}
