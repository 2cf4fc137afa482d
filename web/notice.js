// How something is, in a sign and a word; findings in sentences; views that are empty and say what would fill them.

import { drawing, element } from "./element.js";
import { address, parse } from "./router.js";

const WORDS = { well: "Well", attention: "Attention", alarm: "Alarm", empty: "Nothing yet" };
// Each state has a shape of its own: colour is never the only difference.
const SHAPES = {
  well: [
    ["circle", { cx: 8, cy: 8, r: 7 }],
    ["path", { d: "M4.8 8.3l2.2 2.2 4.2-4.7", class: "sign-line" }],
  ],
  attention: [
    ["path", { d: "M8 1.2 15.4 14.6H.6z" }],
    ["path", { d: "M8 6v4M8 12v.6", class: "sign-line" }],
  ],
  alarm: [
    ["path", { d: "M5 .8h6L15.2 5v6L11 15.2H5L.8 11V5z" }],
    ["path", { d: "M8 4v5M8 11.4v.6", class: "sign-line" }],
  ],
  empty: [["circle", { cx: 8, cy: 8, r: 6.2, class: "sign-hollow" }]],
};

/** The word of a state. */
export const word = (state) => WORDS[state] ?? state;

/** Return the sign of a state; a word must stand beside it. */
export function sign(state, size = 16) {
  const shapes = (SHAPES[state] ?? SHAPES.empty).map(([tag, attributes]) => drawing(tag, attributes));
  return drawing("svg", { class: `sign is-${state}`, viewBox: "0 0 16 16", width: size, height: size, "aria-hidden": "true" }, shapes);
}

/** Return sign and word. */
export function badge(state, text = word(state)) {
  return element("span", { class: `badge is-${state}` }, sign(state, 14), text);
}

/**
 * Return a list of findings {state, text, href}: what needs somebody begins in bold (unless `isQuiet`), the link names its page.
 */
export function notices(found, isQuiet = false) {
  return element(
    "ul",
    { class: "notices" },
    found.map((one) => {
      const [first, rest] = !isQuiet && (one.state === "alarm" || one.state === "attention") ? split(one.text) : ["", one.text];
      const { page, name } = parse(one.href ?? "");
      const isElsewhere = Boolean(one.href) && page !== parse(location.hash).page;
      return element(
        "li",
        { class: `notice is-${one.state}` },
        sign(one.state, 18),
        element(
          "span",
          {},
          element("span", { class: "unseen" }, `${word(one.state)}: `),
          first && element("strong", {}, commands(first)),
          commands(rest),
          isElsewhere && [" ", element("a", { href: one.href, class: "onward" }, name ? `See ${name}` : `See ${page}`)],
        ),
      );
    }),
  );
}

/** The first sentence (or what stands before its semicolon), and the rest. */
export function split(text) {
  const end = text.search(/[.;] /);
  return end < 0 ? [text, ""] : [text.slice(0, end + 1), text.slice(end + 1)];
}

/** Return what an empty view says: what is missing, and what would fill it. */
export function emptiness(title, advice) {
  return element(
    "div",
    { class: "emptiness" },
    sign("empty", 20),
    element("div", {}, element("p", { class: "emptiness-title" }, title), advice && element("p", {}, commands(advice))),
  );
}

/** Return a sentence in which `code` between back-ticks is code. */
export function commands(text) {
  return text.split("`").map((piece, place) => (place % 2 ? element("code", {}, piece) : piece));
}

/** Return the box of an error: what failed, in the server's words. */
export function failure(error) {
  return element("div", { class: "failure is-attention", role: "status" }, sign("attention", 18), element("p", {}, error.message));
}

/** Return quiet bars in the place of what is on its way. */
export function waiting(label) {
  return element(
    "div",
    { class: "waiting", role: "status" },
    element("span", { class: "unseen" }, label),
    [1, 2, 3].map(() => element("span", { class: "waiting-bar" })),
  );
}

/** Return a link to a feature's drift. */
export function featureLink(feature, window) {
  return element("a", { href: address("drift", feature, { window }), class: "name" }, feature);
}
