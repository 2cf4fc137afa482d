// A line of the size of a word; drawn when it comes into view.

import { drawing } from "./element.js";
import { index } from "./format.js";

const WIDTH = 96;
const HEIGHT = 24;
const works = new WeakMap();
const seen = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      works.get(target)?.();
    }
  },
  { rootMargin: "800px" },
);

/** Return the course of `values` (oldest first, null = unknown) with `limit` as a dashed line. */
export function sparkline(values, limit) {
  const known = values.filter((value) => value !== null);
  const label = known.length ? `from ${index(known[0])} to ${index(known.at(-1))}, highest ${index(Math.max(...known))}` : "no values yet";
  const node = drawing("svg", {
    class: "spark",
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    width: WIDTH,
    height: HEIGHT,
    role: "img",
    "aria-label": label,
  });
  works.set(node, () => draw(node, values, known, limit));
  seen.observe(node);
  return node;
}

function draw(node, values, known, limit) {
  if (!known.length) return;
  const top = Math.max(...known, limit ?? 0) * 1.1 || 1;
  const x = (place) => (values.length > 1 ? 2 + (place * (WIDTH - 6)) / (values.length - 1) : WIDTH / 2);
  const y = (value) => HEIGHT - 2 - (value / top) * (HEIGHT - 4);
  let path = "";
  let isDown = false;
  values.forEach((value, place) => {
    if (value !== null) path += `${isDown ? "L" : "M"}${x(place).toFixed(1)} ${y(value).toFixed(1)}`;
    isDown = value !== null;
  });
  const last = values.findLastIndex((value) => value !== null);
  if (limit) node.append(drawing("line", { class: "spark-limit", x1: 0, x2: WIDTH, y1: y(limit), y2: y(limit) }));
  node.append(
    drawing("path", { class: "spark-line", d: path }),
    drawing("circle", { class: "spark-end", cx: x(last), cy: y(values[last]), r: 2 }),
  );
}
