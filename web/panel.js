// The parts that every page is built from: its head, the sentence below it, and titled panels.

import { element, replace } from "./element.js";
import { commands, sign, word } from "./notice.js";

/** A titled section with a body. */
export const panel = (id, title, ...body) =>
  element(
    "section",
    { class: "panel", "aria-labelledby": id },
    element("div", { class: "panel-head" }, element("h2", { id }, title)),
    body,
  );

/** The head of a page: its title, the sentence `lead`, and what stands beside them. */
export const pageHead = (title, lead, ...beside) =>
  element("div", { class: "page-head" }, element("div", {}, element("h1", { tabindex: -1 }, title), lead), beside);

/** Let a page's first sentence say an answer's state, as a sign and in words. */
export const tell = (lead, { state, sentence }) =>
  replace(lead, sign(state, 18), element("span", {}, element("span", { class: "unseen" }, `${word(state)}: `), commands(sentence)));
