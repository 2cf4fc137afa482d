// The service's answers. Everything is relative to the page's address, so the dashboard also works below a prefix.

/** An answer that says why there is none. */
class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/** Return the JSON answer to `path` below `api/v1/`; throws `Refused` with the server's sentence, or a plain error when nobody answers. */
export async function read(path, signal) {
  let answer;
  try {
    answer = await fetch(`api/v1/${path}`, { signal, headers: { accept: "application/json" }, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "weir web does not answer. Is it still running? This page tries again by itself.");
  }
  const content = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, content?.sentence ?? `the service answered with status ${answer.status}`);
  return content;
}

/**
 * Ask for `path` now and every `every_ms` while the page is visible.
 *
 * `take(answer)` is called only when the answer is another one (its time aside), `fail(error)` when there is none.
 * Returns {again(), close()}.
 */
export function follow(path, every_ms, take, fail) {
  const stop = new AbortController();
  let last = null;
  let timer = 0;
  let isAsking = false;
  async function ask() {
    clearTimeout(timer);
    if (isAsking || stop.signal.aborted) return;
    isAsking = true;
    try {
      const answer = await read(path, stop.signal);
      const content = JSON.stringify({ ...answer, at_ms: 0 });
      if (content !== last && !stop.signal.aborted) {
        last = content;
        take(answer);
      }
    } catch (error) {
      if (error.name !== "AbortError") {
        last = null;
        fail(error);
        if (!(error instanceof Refused)) throw error;
      }
    } finally {
      isAsking = false;
      if (!stop.signal.aborted) timer = setTimeout(() => document.hidden || ask(), every_ms);
    }
  }
  const wake = () => document.hidden || ask();
  document.addEventListener("visibilitychange", wake);
  ask();
  return {
    again: ask,
    close() {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", wake);
    },
  };
}
