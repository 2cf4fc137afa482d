// Puts the page that the address names into the document, and keeps what all pages share: pages, connection, theme, state.

import { start as startClock } from "./clock.js";
import { element, replace, say } from "./element.js";
import { Feed } from "./events.js";
import { sign, word } from "./notice.js";
import { PAGES, parse } from "./router.js";
import { Status } from "./status.js";
import { toggle } from "./theme.js";

const MODULES = {
  live: () => import("./live.js"),
  drift: () => import("./drift.js"),
  quality: () => import("./quality.js"),
  models: () => import("./models.js"),
  transaction: () => import("./transaction.js"),
};

const feed = new Feed();
const status = new Status();
const content = document.getElementById("content");
const spoken = document.getElementById("spoken");
const links = PAGES.map(({ page, title }) => element("a", { href: `#/${page}`, "data-page": page }, title));
let open = { page: null, close() {} };
let turn = 0;

/** Show the view of the address; a change inside one page is left to that page if it can. */
async function show() {
  const route = parse(location.hash);
  const mine = ++turn;
  for (const link of links) {
    if (link.dataset.page === route.page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${route.name ? `${route.name} · ` : ""}${PAGES.find((one) => one.page === route.page).title} · weir`;
  if (open.page === route.page && open.update?.(route)) return;
  const { mount } = await MODULES[route.page]();
  if (mine !== turn) return;
  const isFirst = open.page === null;
  open.close();
  const view = element("div", { class: `page page-${route.page}` });
  replace(content, view);
  open = { page: route.page, close() {}, ...mount(view, route, { feed, spoken, status }) };
  if (isFirst) return;
  scrollTo(0, 0);
  view.querySelector("h1")?.focus({ preventScroll: true });
}

/** Say in the header whether this page hears from the service, and how all is. */
function showContact() {
  const line = document.getElementById("feed");
  const isHeard = feed.isConnected;
  const state = isHeard ? (status.answer?.state ?? "empty") : "attention";
  const text = isHeard === null ? "Connecting…" : isHeard ? (status.answer ? word(state) : "Connecting…") : "Reconnecting…";
  if (line.dataset.shown === text) return;
  line.dataset.shown = text;
  line.className = `feed is-${state}`;
  line.title = isHeard ? "How all is; the live page says why" : "weir web does not answer; what is shown may be old";
  replace(line, sign(isHeard === null ? "empty" : state, 14), element("span", {}, text));
}

replace(document.getElementById("pages"), links);
document.getElementById("skip").addEventListener("click", (event) => {
  // The address belongs to the router; the jump is made by hand.
  event.preventDefault();
  content.focus();
});
toggle(document.getElementById("theme"));
feed.addEventListener("contact", ({ detail }) => {
  showContact();
  say(spoken, detail.isConnected ? "" : "The connection to the service is lost; trying again.");
});
status.addEventListener("change", showContact);
for (const kind of ["resumed", "incident"]) feed.addEventListener(kind, () => status.again());
showContact();
feed.open();
status.open();
startClock();
addEventListener("hashchange", show);
show();
