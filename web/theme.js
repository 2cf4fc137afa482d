// Light, dark, or as the system says; and the colours in force, for what is drawn on a canvas.

import { element, replace } from "./element.js";

const KEY = "weir.theme";
const CHOICES = ["auto", "light", "dark"];
const changed = new EventTarget();
let colours = new Map();
let probe = null;

function chosen() {
  return document.documentElement.dataset.theme ?? "auto";
}

function choose(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // A browser that keeps nothing asks again next time.
  }
  renew();
}

function renew() {
  colours = new Map();
  changed.dispatchEvent(new Event("change"));
}

/** Make `button` step through the themes. */
export function toggle(button) {
  const show = () => {
    replace(button, element("span", { class: "theme-word" }, "Theme: "), chosen());
    button.setAttribute("aria-label", `Theme: ${chosen()}`);
  };
  button.addEventListener("click", () => {
    choose(CHOICES[(CHOICES.indexOf(chosen()) + 1) % CHOICES.length]);
    show();
  });
  show();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", renew);
}

/** Call `work` when colours change; returns a function that ends it. */
export function onChange(work) {
  changed.addEventListener("change", work);
  return () => changed.removeEventListener("change", work);
}

/** Return the value of the colour `--name` in the theme in force. */
export function colour(name) {
  if (!colours.has(name)) {
    probe ??= document.body.appendChild(Object.assign(document.createElement("i"), { hidden: true }));
    probe.style.color = `var(--${name})`;
    colours.set(name, getComputedStyle(probe).color);
  }
  return colours.get(name);
}
