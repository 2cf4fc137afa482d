// A row of choices of which one holds, as radio buttons: arrow keys move between them.

import { element } from "./element.js";

/** Return a group; `options`: [{value, title}]; `chosen(value)` is called on a change. `set(value)` changes it from outside. */
export function choice(legend, options, value, chosen) {
  const name = `choice-${legend.replaceAll(" ", "-")}`;
  const inputs = options.map((option) =>
    element("input", { type: "radio", name, value: option.value, checked: option.value === value, onchange: () => chosen(option.value) }),
  );
  const node = element(
    "fieldset",
    { class: "choice" },
    element("legend", { class: "unseen" }, legend),
    options.map((option, place) => element("label", {}, inputs[place], element("span", {}, option.title))),
  );
  return {
    node,
    set(now) {
      for (const input of inputs) input.checked = input.value === now;
    },
  };
}
