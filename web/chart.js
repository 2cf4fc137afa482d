// Charts over time or over an ordered axis: one line each for its unit, its limits and a sentence that says what it shows.

import uPlot from "./vendor/uPlot.esm.js";
import { beforePaint, element, replace, say } from "./element.js";
import { tick } from "./format.js";
import { colour, onChange } from "./theme.js";

const HATCH_PX = 8;
const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

/** Ink of a line by its role: the subject of the chart has the accent colour, everything else stands back. */
const INKS = { subject: "accent", beside: "ink-2", past: "ink-3" };

function hatch(plot, [from, to]) {
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  const begin = Math.max(left, plot.valToPos(from, "x", true));
  const end = Math.min(left + width, plot.valToPos(to, "x", true));
  if (end <= begin) return;
  ctx.save();
  ctx.beginPath();
  ctx.rect(begin, top, end - begin, height);
  ctx.clip();
  ctx.fillStyle = colour("hatch-ground");
  ctx.fillRect(begin, top, end - begin, height);
  ctx.strokeStyle = colour("hatch");
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  for (let x = begin - height; x < end; x += HATCH_PX * devicePixelRatio) {
    ctx.moveTo(x, top + height);
    ctx.lineTo(x + height, top);
  }
  ctx.stroke();
  ctx.restore();
}

function rule(plot, { value, text, axis = "y", isStrong = false }) {
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  const place = plot.valToPos(value, axis, true);
  if (!Number.isFinite(place)) return;
  ctx.save();
  ctx.strokeStyle = colour(isStrong ? "ink" : "limit");
  ctx.fillStyle = colour("ink-2");
  ctx.lineWidth = (isStrong ? 1.5 : 1) * devicePixelRatio;
  ctx.setLineDash(isStrong ? [] : [5 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  if (axis === "y") {
    ctx.moveTo(left, place);
    ctx.lineTo(left + width, place);
  } else {
    ctx.moveTo(place, top);
    ctx.lineTo(place, top + height);
  }
  ctx.stroke();
  if (text) {
    ctx.font = FONT.replace("12px", `${12 * devicePixelRatio}px`);
    ctx.textAlign = "right";
    const gap = 4 * devicePixelRatio;
    const isHigh = place - top < 20 * devicePixelRatio;
    ctx.textBaseline = isHigh ? "top" : "bottom";
    let [x, y] = [left + width - gap, place + (isHigh ? gap : -gap)];
    if (axis === "x") {
      const isRight = place + ctx.measureText(text).width + 2 * gap > left + width;
      ctx.textAlign = isRight ? "right" : "left";
      ctx.textBaseline = "top";
      [x, y] = [place + (isRight ? -gap : gap), top + gap];
    }
    // A halo keeps the words apart from the line that they may cross.
    ctx.setLineDash([]);
    ctx.lineJoin = "round";
    ctx.lineWidth = 4 * devicePixelRatio;
    ctx.strokeStyle = colour("surface");
    ctx.strokeText(text, x, y);
    ctx.fillText(text, x, y);
  }
  ctx.restore();
}

function seriesOf(line) {
  const stroke = () => colour(INKS[line.role] ?? "accent");
  return {
    label: line.label,
    stroke: line.isEdge ? "transparent" : stroke,
    width: line.isEdge ? 0 : line.role === "subject" ? 2 : 1.5,
    dash: line.isDashed ? [4, 4] : undefined,
    points: line.isDotted ? { show: true, size: 5, fill: stroke } : { show: false },
    spanGaps: false,
  };
}

function axisOf(side, format, extra) {
  return {
    stroke: () => colour("ink-2"),
    font: FONT,
    grid: { stroke: () => colour("line"), width: 1 },
    ticks: { show: false },
    gap: 6,
    ...(format ? { values: format } : {}),
    ...extra,
    side,
  };
}

/**
 * A chart with title, sentence, legend and plot.
 *
 * @param {object} about
 *   title, unit; `lines`: [{label, role, isDashed, isDotted, isEdge, format}] in the order of the data's rows;
 *   `bands`: [[upper line, lower line]] places in `lines`; `format(value)` of the vertical axis; `height`;
 *   `x`: {isTime, format(value, step), read(value), range, space}; `low`, `high`: fixed ends of the vertical axis; `isNear`: it begins
 *   near the lowest value; `least`: its end when all is zero; `level`: heading level; `empty`: what an empty chart says.
 * @returns {{node, set, close}} `set(data, {sentence, limits, hatched, marks})` with data [xs, ...rows].
 */
export function chart(about) {
  const { title, unit, lines, format } = about;
  const plotBox = element("div", { class: "plot", role: "img", "aria-label": title, style: { height: `${about.height ?? 200}px` } });
  const sentence = element("p", { class: "chart-sentence" });
  const readout = element("p", { class: "chart-readout", "aria-hidden": "true" });
  const keys = lines
    .filter((line) => !line.isEdge)
    .map((line) => element("li", { class: `key is-${line.role}${line.isDashed ? " is-dashed" : ""}` }, line.label));
  const legend = element(
    "ul",
    { class: "legend" },
    keys,
    about.bandLabel && element("li", { class: "key is-band" }, about.bandLabel),
    about.hatchLabel && element("li", { class: "key is-hatched" }, about.hatchLabel),
  );
  const node = element(
    "figure",
    { class: "chart" },
    element("figcaption", {}, element(about.level ?? "h3", {}, title, unit && element("span", { class: "unit" }, ` ${unit}`)), sentence),
    element("div", { class: "chart-keys" }, legend, readout),
    plotBox,
  );

  let plot = null;
  let data = null;
  let shown = { limits: [], hatched: null, marks: [] };
  const isTime = about.x?.isTime ?? true;
  const formatX = about.x?.format ?? tick;

  function reading(u) {
    const place = u.cursor.idx;
    if (place === null || place === undefined) return say(readout, "");
    const values = lines.map((line, row) =>
      line.isEdge || u.data[row + 1][place] === null ? null : `${line.label} ${(line.format ?? format)(u.data[row + 1][place])}`,
    );
    say(readout, `${about.x?.read?.(u.data[0][place]) ?? formatX(u.data[0][place], 1000)} · ${values.filter(Boolean).join(" · ")}`);
  }

  function range(u, low, high) {
    const limits = shown.limits.filter((limit) => (limit.axis ?? "y") === "y").map((limit) => limit.value);
    const top = about.high ?? Math.max(high ?? 0, ...limits) * 1.12;
    // Near: shares that lie close together get the room; the axis says where it begins.
    const bottom = about.isNear && low > 0 ? Math.max(0, Math.floor((low - 0.05) * 10) / 10) : 0;
    return [about.low ?? bottom, top > 0 ? top : (about.least ?? 1)];
  }

  function make(width) {
    const options = {
      width,
      height: about.height ?? 200,
      ms: 1,
      padding: [10, 20, 0, 0],
      tzDate: (ts) => uPlot.tzDate(new Date(ts), "Etc/UTC"),
      legend: { show: false },
      cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
      scales: { x: { time: isTime, range: about.x?.range }, y: { range } },
      axes: [
        axisOf(2, (u, splits, _axis, _space, step) => splits.map((value) => formatX(value, step)), {
          size: 30,
          space: about.x?.space ?? 56,
          splits: about.x?.splits,
        }),
        axisOf(3, (u, splits) => splits.map((value) => format(value)), { size: about.axisWidth ?? 56, space: 36 }),
      ],
      series: [{}, ...lines.map(seriesOf)],
      bands: (about.bands ?? []).map((pair) => ({ series: pair.map((row) => row + 1), fill: () => colour("band") })),
      hooks: {
        drawClear: [(u) => shown.hatched && hatch(u, shown.hatched)],
        draw: [(u) => [...shown.limits, ...shown.marks].forEach((one) => rule(u, one))],
        setCursor: [reading],
      },
    };
    plot = new uPlot(options, data, plotBox);
  }

  function draw() {
    const width = plotBox.clientWidth;
    if (!data) return;
    if (!data[0].length) {
      plot?.destroy();
      plot = null;
      replace(plotBox, element("p", { class: "plot-empty" }, about.empty ?? "Nothing to draw yet."));
    } else if (!width) {
      // Hidden: drawn when it gets a size.
    } else if (!plot) {
      replace(plotBox);
      make(width);
    } else {
      if (plot.width !== width) plot.setSize({ width, height: about.height ?? 200 });
      plot.setData(data);
    }
  }

  const resized = new ResizeObserver(() => beforePaint(plotBox, draw));
  resized.observe(plotBox);
  const endTheme = onChange(() => plot?.redraw(true));

  return {
    node,
    set(found, { sentence: text = "", limits = [], hatched = null, marks = [] } = {}) {
      data = found;
      shown = { limits, hatched, marks };
      say(sentence, text);
      plotBox.setAttribute("aria-label", `${title}${unit ? `, ${unit}` : ""}. ${text}`);
      beforePaint(plotBox, draw);
    },
    /** Draw marks and limits anew without new data. */
    mark(marks) {
      shown = { ...shown, marks };
      beforePaint(readout, () => plot?.redraw(false));
    },
    close() {
      resized.disconnect();
      endTheme();
      plot?.destroy();
      plot = null;
    },
  };
}
