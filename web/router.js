// The address holds the state: `#/page/name?key=value`, so that a view can be sent to a colleague.

export const PAGES = [
  { page: "live", title: "Live" },
  { page: "drift", title: "Drift" },
  { page: "quality", title: "Quality" },
  { page: "models", title: "Models" },
  { page: "transaction", title: "Transaction" },
];

/** Return {page, name, query} of an address; an unknown one is the live page. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [page, ...rest] = path.split("/");
  const isKnown = PAGES.some((one) => one.page === page);
  return { page: isKnown ? page : "live", name: isKnown ? decode(rest.join("/")) : "", query: new URLSearchParams(query) };
}

/** Return the address of a view; empty and null values are left out. */
export function address(page, name = "", query = {}) {
  const kept = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== null && value !== ""));
  return `#/${page}${name ? `/${encodeURIComponent(name)}` : ""}${kept.size ? `?${kept}` : ""}`;
}

/** Change the address without a step in the browser's history: for a slider or a filter. */
export function amend(page, name, query) {
  history.replaceState(null, "", address(page, name, query));
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
