// Does a probability mean what it says? Mean probability against the share that was fraud, both on logarithmic axes.

import { drawing, element, replace } from "./element.js";
import { count, share } from "./format.js";
import { emptiness } from "./notice.js";

const WIDTH = 520;
const HEIGHT = 300;
const LEFT = 64;
const FOOT = 52;
const LOW = 1e-4;
const DECADES = [1e-4, 1e-3, 1e-2, 1e-1, 1];
const place = (value) => Math.log10(Math.max(LOW, Math.min(1, value)) / LOW) / 4;
const x = (value) => LEFT + place(value) * (WIDTH - LEFT - 32);
const y = (value) => HEIGHT - FOOT - place(value) * (HEIGHT - FOOT - 12);

function sentenceOf(points) {
  const rows = points.filter((point) => point.n > 0);
  const said = rows.reduce((total, point) => total + point.mean_p * point.n, 0);
  const was = rows.reduce((total, point) => total + point.share * point.n, 0);
  if (!was) return "No fraud is known on the matured days.";
  const ratio = said / was;
  const verdict = ratio > 1.15 ? "more than came" : ratio < 0.87 ? "fewer than came" : "about as many as came";
  return `The probabilities add up to ${count(said)} frauds; ${count(was)} were reported: ${verdict}. Points above the line were riskier than said.`;
}

function plot(points) {
  const largest = Math.max(...points.map((point) => point.n));
  return drawing(
    "svg",
    { class: "calibration", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `Calibration. ${sentenceOf(points)}` },
    DECADES.map((value) => [
      drawing("line", { class: "grid", x1: x(value), x2: x(value), y1: y(LOW), y2: y(1) }),
      drawing("line", { class: "grid", x1: x(LOW), x2: x(1), y1: y(value), y2: y(value) }),
      drawing("text", { x: x(value), y: HEIGHT - FOOT + 22, "text-anchor": "middle" }, share(value)),
      drawing("text", { x: LEFT - 14, y: y(value) + 4, "text-anchor": "end" }, share(value)),
    ]),
    drawing("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "mean probability"),
    drawing("line", { class: "ideal", x1: x(LOW), y1: y(LOW), x2: x(1), y2: y(1) }),
    points.map((point) =>
      drawing(
        "circle",
        {
          class: point.share > 0 ? "point" : "point is-none",
          cx: x(point.mean_p),
          cy: y(point.share),
          r: 4 + 5 * Math.sqrt(point.n / largest),
        },
        drawing("title", {}, `said ${share(point.mean_p)}, was ${share(point.share)}, ${count(point.n)} transactions`),
      ),
    ),
  );
}

/** The panel: {node, set(points)}. */
export function calibrationPanel() {
  const body = element("div");
  const node = element(
    "section",
    { class: "panel", "aria-labelledby": "calibration-title" },
    element(
      "div",
      { class: "panel-head" },
      element("h2", { id: "calibration-title" }, "Calibration", element("span", { class: "unit" }, " share that was fraud")),
    ),
    body,
  );
  return {
    node,
    set(points) {
      replace(
        body,
        points.length
          ? [
              element("p", { class: "chart-sentence" }, sentenceOf(points)),
              element(
                "ul",
                { class: "legend" },
                element("li", { class: "key is-limit" }, "said and was are equal"),
                element("li", { class: "key is-dot" }, "a tenth of the predicted fraud"),
              ),
              plot(points),
            ]
          : emptiness("No day is mature yet.", "Calibration needs days whose labels have come."),
      );
    },
  };
}
