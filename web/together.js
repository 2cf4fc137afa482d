// All features at once: whether the last day's transactions can be told from those of earlier days.

import { element, replace } from "./element.js";
import { count, figure } from "./format.js";
import { badge, emptiness, featureLink } from "./notice.js";
import { panel } from "./panel.js";

const interval = (low, high) => `95 % interval ${figure(low)} to ${figure(high)}`;

const usually = (value) => (value === null ? "what is usual is not known yet" : `usual: up to ${figure(value)}`);

const fact = (title, value, ...hints) =>
  element(
    "div",
    {},
    element("dt", {}, title),
    element("dd", {}, value),
    hints.map((hint) => element("dd", { class: "hint" }, hint)),
  );

/** The panel; `set(answer, window)` fills it with an answer's `together`. */
export function togetherPanel() {
  const body = element("div", { class: "stack" });
  const node = panel("together-title", "Several features at once", body);
  return {
    node,
    set(found, window) {
      node.hidden = !found;
      if (!found) return;
      if (found.auc === null) {
        replace(body, emptiness(found.sentence, found.advice));
        return;
      }
      replace(
        body,
        element(
          "div",
          { class: "score-row" },
          badge(found.state, found.state === "empty" ? "Not judged" : undefined),
          element("p", {}, found.sentence),
        ),
        found.advice && element("p", { class: "quiet-text" }, found.advice),
        element(
          "dl",
          { class: "figures is-small" },
          fact("Told from earlier days (AUC)", figure(found.auc), interval(found.auc_low, found.auc_high), usually(found.auc_usual)),
          fact(
            "Reconstruction error",
            `${figure(found.error_now / found.error_before)} times`,
            interval(found.error_ratio_low, found.error_ratio_high),
            usually(found.error_ratio_usual),
            `now ${figure(found.error_now)}, before ${figure(found.error_before)}`,
          ),
          fact("Vectors looked at, now / before", `${count(found.n_recent)} / ${count(found.n_earlier)}`),
        ),
        element(
          "p",
          { class: "quiet-text" },
          "Told most by ",
          found.told_by.map((name, place) => [place > 0 && ", ", featureLink(name, window)]),
          ". It never raises an alarm.",
        ),
      );
    },
  };
}
