// Reads the Markdown of model cards: headings, paragraphs, lists, tables, bold and code. Everything else stays text.

import { element } from "./element.js";
import { scrollBox } from "./table.js";

/** The pieces of a line: **bold** and `code` as elements. */
function inline(text) {
  return text
    .split(/(\*\*[^*]+\*\*|`[^`]+`)/)
    .filter(Boolean)
    .map((piece) => {
      if (piece.startsWith("**")) return element("strong", {}, piece.slice(2, -2));
      if (piece.startsWith("`")) return element("code", {}, piece.slice(1, -1));
      return piece;
    });
}

const cells = (line) =>
  line
    .replace(/^\||\|$/g, "")
    .split("|")
    .map((cell) => cell.trim());

function tableOf(lines, caption) {
  const [head, , ...rows] = lines.map(cells);
  const kind = (text, place) => (place && /^[\d.,\s%-]*$/.test(text) ? "number" : null);
  const titles = head.map((cell, place) => element("th", { scope: "col", class: kind(rows[0]?.[place] ?? "", place) }, cell));
  const row = (found) =>
    found.map((cell, place) => element(place ? "td" : "th", { scope: place ? null : "row", class: kind(cell, place) }, inline(cell)));
  const body = rows.map((found) => element("tr", {}, row(found)));
  return scrollBox(
    caption,
    element(
      "table",
      {},
      element("caption", { class: "unseen" }, caption),
      element("thead", {}, element("tr", {}, titles)),
      element("tbody", {}, body),
    ),
  );
}

/** Return the elements of `source`; its headings begin at `h3`. */
export function markdown(source) {
  const found = [];
  const lines = source.split("\n");
  let title = "";
  for (let at = 0; at < lines.length;) {
    const line = lines[at].trim();
    const begin = at;
    const take = (test) => {
      while (at < lines.length && test(lines[at].trim())) at += 1;
      return lines.slice(begin, at).map((one) => one.trim());
    };
    const heading = /^(#{1,4})\s+(.*)$/.exec(line);
    if (!line) at += 1;
    else if (heading) {
      title = heading[2];
      found.push(element(heading[1].length === 1 ? "h3" : "h4", {}, inline(title)));
      at += 1;
    } else if (line.startsWith("|"))
      found.push(
        tableOf(
          take((one) => one.startsWith("|")),
          title,
        ),
      );
    else if (/^[-*]\s/.test(line))
      found.push(
        element(
          "ul",
          { class: "bullets" },
          take((one) => /^[-*]\s/.test(one)).map((one) => element("li", {}, inline(one.slice(2)))),
        ),
      );
    else found.push(element("p", {}, inline(take((one) => one && !/^(#|\||[-*]\s)/.test(one)).join(" "))));
  }
  return found;
}
