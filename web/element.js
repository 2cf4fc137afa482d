// Builds elements. Text is always text: nothing that comes from the stream is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [property, one] of Object.entries(value)) node.style.setProperty(property, one);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Return an HTML element; `null` and `false` children and attributes are left out. */
export function element(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Return an SVG element. */
export function drawing(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Put `children` in the place of everything in `node`. */
export function replace(node, ...children) {
  node.replaceChildren(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
}

/** Set a node's text if it is another one: an unchanged node is not painted and not announced again. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const waiting = new Map();

/** Run `work` before the next paint, once for each `key` however often it is asked for. */
export function beforePaint(key, work) {
  if (!waiting.size)
    requestAnimationFrame(() => {
      const jobs = [...waiting.values()];
      waiting.clear();
      for (const job of jobs) job();
    });
  waiting.set(key, work);
}
