// Tables that keep their rows: a refresh changes only what is another value, so focus, selection and scroll position stay.

import { element, replace } from "./element.js";
import { count } from "./format.js";

const ROWS_A_STEP = 50;

/**
 * A table with a caption.
 *
 * @param {object} about
 *   caption; `columns`: [{title, cell(row) -> children, isNumber, isHeader, label}]; `key(row)`; `most`: rows shown before "show more"
 *   (0 = all); `rowClass(row)`; `isCaptionSeen`; `isCards`: on narrow screens each row is a card.
 * @returns {{node, set(rows)}}
 */
export function table(about) {
  const { columns, key, most = 0 } = about;
  const body = element("tbody");
  const head = element(
    "thead",
    {},
    element(
      "tr",
      {},
      columns.map((column) => element("th", { scope: "col", class: column.isNumber ? "number" : null }, column.title)),
    ),
  );
  const grid = element(
    "table",
    { class: about.isCards === false ? null : "cards" },
    element("caption", { class: about.isCaptionSeen ? null : "unseen" }, about.caption),
    head,
    body,
  );
  const more = element("button", { type: "button", class: "quiet more", hidden: true, onclick: () => open() });
  const box = scrollBox(about.caption, grid);
  const node = element("div", { class: "table" }, box, more);
  const known = new Map();
  let rows = [];
  let n_open = most || Infinity;

  function rowOf(row) {
    const name = key(row);
    const content = JSON.stringify(row);
    const found = known.get(name);
    if (found?.content === content) return found.node;
    const cells = columns.map((column) =>
      element(
        column.isHeader ? "th" : "td",
        { scope: column.isHeader ? "row" : null, class: column.isNumber ? "number" : null, "data-label": column.label ?? column.title },
        column.cell(row),
      ),
    );
    const rowClass = about.rowClass?.(row) ?? null;
    if (found) {
      const place = [...found.node.children].indexOf(document.activeElement?.closest?.("td,th"));
      replace(found.node, cells);
      found.node.className = rowClass ?? "";
      found.content = content;
      if (place >= 0) cells[place].querySelector("a,button")?.focus({ preventScroll: true });
      return found.node;
    }
    const made = element("tr", { class: rowClass }, cells);
    known.set(name, { node: made, content });
    return made;
  }

  function show() {
    const wanted = rows.slice(0, n_open);
    wanted.forEach((row, place) => {
      const made = rowOf(row);
      if (body.children[place] !== made) body.insertBefore(made, body.children[place] ?? null);
    });
    while (body.children.length > wanted.length) body.lastChild.remove();
    more.hidden = rows.length <= wanted.length;
    more.textContent = `Show more: ${count(wanted.length)} of ${count(rows.length)} shown`;
  }

  // Once asked for more, scrolling asks for the rest: a thousand rows at once would make the page stutter.
  const near = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && open(), { rootMargin: "400px" });

  function open() {
    n_open += ROWS_A_STEP;
    show();
    near.unobserve(more);
    if (!more.hidden) requestAnimationFrame(() => near.observe(more));
  }

  return {
    node,
    set(found) {
      rows = found;
      const names = new Set(rows.map(key));
      for (const name of known.keys()) if (!names.has(name)) known.delete(name);
      show();
    },
  };
}

const boxes = new ResizeObserver((entries) => {
  // What scrolls must be reachable by keyboard; what does not scroll is no stop on the way.
  for (const box of new Set(entries.map(({ target }) => target.closest(".table-box")))) {
    if (!box) continue;
    const doesScroll = box.scrollWidth > box.clientWidth;
    for (const [name, value] of [
      ["tabindex", "0"],
      ["role", "region"],
      ["aria-label", box.dataset.label],
    ]) {
      if (doesScroll) box.setAttribute(name, value);
      else box.removeAttribute(name);
    }
  }
});

/** Return a box around a table that scrolls sideways where the table is wider than the page. */
export function scrollBox(label, grid) {
  const box = element("div", { class: "table-box", "data-label": label }, grid);
  boxes.observe(box);
  boxes.observe(grid);
  return box;
}

/** Return a list of names and values: [[name, value], ...]; pairs without a value are left out. */
export function facts(pairs) {
  return element(
    "dl",
    { class: "facts" },
    pairs
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}
