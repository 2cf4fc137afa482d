// Alarms from their beginning to their end, on one line of time with the changes of model.

import { dated } from "./clock.js";
import { drawing, element, replace } from "./element.js";
import { day, duration, minute, plural } from "./format.js";
import { badge, commands, emptiness, featureLink } from "./notice.js";
import { panel } from "./panel.js";

const KINDS = { feature_drift: "Drift", missing: "Missing values", score_drift: "Score", alert_rate: "Alert rate", concept: "Concept" };
const DAY_MS = 86_400_000;
const LEAST_MS = 7 * DAY_MS;
const MOST_MS = 35 * DAY_MS;
const MOST_LANES = 8;
const LANE = 18;
const FOOT = 20;

function timeline(incidents, models, now_ms) {
  const shown = incidents.slice(0, MOST_LANES);
  const oldest_ms = Math.min(now_ms - LEAST_MS, ...shown.map((one) => one.started_ms));
  const from_ms = Math.max(oldest_ms - DAY_MS / 4, now_ms - MOST_MS);
  const x = (time_ms) => `${(100 * Math.min(1, Math.max(0, (time_ms - from_ms) / (now_ms - from_ms)))).toFixed(2)}%`;
  const marked = models.filter((one) => one.from_ms >= from_ms);
  const top = marked.length ? 24 : 4;
  const height = top + Math.max(1, shown.length) * LANE + FOOT;
  const n_days = matchMedia("(max-width: 760px)").matches ? 3 : 7;
  const step_ms = Math.max(1, Math.round((now_ms - from_ms) / DAY_MS / n_days)) * DAY_MS;
  const days = [];
  for (let at_ms = Math.ceil(from_ms / DAY_MS) * DAY_MS; at_ms < now_ms; at_ms += step_ms) days.push(at_ms);
  const part = (at_ms) => (at_ms - from_ms) / (now_ms - from_ms);
  const text = (at_ms, content, y, kind) => drawing("text", { x: x(at_ms), y, class: kind, ...side(at_ms, kind) }, content);
  const side = (at_ms, kind) =>
    kind === "timeline-text"
      ? { "text-anchor": "middle" }
      : part(at_ms) > 0.5
        ? { "text-anchor": "end", dx: -4 }
        : { "text-anchor": "start", dx: 4 };
  return drawing(
    "svg",
    {
      class: "timeline",
      width: "100%",
      height,
      role: "img",
      "aria-label": `Timeline of the last ${duration(now_ms - from_ms)}: ${plural(incidents.length, "incident")}, ${plural(models.length, "model")}. The list says the same in words.`,
    },
    days.map((at_ms) => [
      drawing("line", { x1: x(at_ms), x2: x(at_ms), y1: top, y2: height - FOOT, class: "timeline-day" }),
      part(at_ms) > 0.04 && part(at_ms) < 0.96 && text(at_ms, day(at_ms), height - 6, "timeline-text"),
    ]),
    marked.map((one) => [
      drawing("line", { x1: x(one.from_ms), x2: x(one.from_ms), y1: 4, y2: height - FOOT, class: "timeline-model" }),
      text(one.from_ms, one.model, 14, "timeline-text is-model"),
    ]),
    shown.map((one, lane) => {
      const end_ms = one.ended_ms ?? now_ms;
      const begin = Number.parseFloat(x(one.started_ms));
      const width = Math.max(0.6, Number.parseFloat(x(end_ms)) - begin);
      return drawing("rect", {
        x: `${Math.min(begin, 99.4)}%`,
        width: `${width}%`,
        y: top + lane * LANE + 4,
        height: LANE - 8,
        rx: 3,
        class: `timeline-bar is-${one.ended_ms ? "ended" : one.severity}`,
      });
    }),
  );
}

function item(incident, window) {
  const state = incident.ended_ms ? "well" : incident.state;
  return element(
    "li",
    { class: "incident" },
    element(
      "div",
      { class: "incident-head" },
      badge(state, incident.ended_ms ? "Ended" : undefined),
      element("strong", {}, KINDS[incident.kind] ?? incident.kind),
      element(
        "span",
        { class: "quiet-text" },
        dated(incident.started_ms, `since ${minute(incident.started_ms)}`),
        incident.ended_ms
          ? [" until ", dated(incident.ended_ms, minute(incident.ended_ms)), `, ${duration(incident.ended_ms - incident.started_ms)}`]
          : "",
      ),
    ),
    element("p", {}, incident.sentence),
    incident.features.length > 0 &&
      element(
        "p",
        { class: "quiet-text" },
        "Open: ",
        incident.features.slice(0, 8).map((feature, place) => [place > 0 && ", ", featureLink(feature, window)]),
        incident.features.length > 8 && ` and ${incident.features.length - 8} more`,
      ),
    !incident.ended_ms &&
      element(
        "p",
        { class: "advice" },
        element("strong", {}, "What to do: "),
        commands(incident.advice),
        " ",
        incident.runbook && element("span", { class: "quiet-text" }, "Runbook: ", element("code", {}, incident.runbook)),
      ),
  );
}

/** The panel of incidents: {node, set({incidents, models, now_ms, window})}. */
export function incidentPanel() {
  const body = element("div");
  const node = panel(
    "incidents-title",
    "Incidents",
    body,
  );
  let isOpen = false;
  return {
    node,
    set({ incidents, models, now_ms, window, hasBaseline }) {
      const open = incidents.filter((one) => !one.ended_ms);
      const ended = incidents.filter((one) => one.ended_ms);
      const past =
        ended.length > 0 &&
        element(
          "details",
          {
            class: "more-details",
            open: isOpen,
            ontoggle: (event) => {
              isOpen = event.target.open;
            },
          },
          element("summary", {}, `${plural(ended.length, "ended incident")}`),
          element(
            "ul",
            { class: "incidents" },
            ended.slice(0, 30).map((one) => item(one, window)),
          ),
        );
      const none =
        !incidents.length &&
        emptiness(
          "No incident.",
          hasBaseline
            ? "One opens when a feature, the score or the alert rate leaves its limits in 2 of 3 windows, and ends by itself."
            : "Nothing raises an alarm until enough days have set the noise limits.",
        );
      replace(
        body,
        now_ms && incidents.length > 0 && timeline([...open, ...ended], models, now_ms),
        none,
        open.length > 0 &&
          element(
            "ul",
            { class: "incidents" },
            open.map((one) => item(one, window)),
          ),
        past,
      );
    },
  };
}
