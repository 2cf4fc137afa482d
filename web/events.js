// The stream of events, and its return after the service was away.

const SILENCE_MS = 6_000; // the event `live` comes every second
const RETRY_MS = 1_000;

/**
 * Dispatches `live`, `alert` and `incident` (the answer in `detail`), `resumed` whenever a connection begins or events were lost,
 * and `contact` with {isConnected, since_ms} when that changes. A browser gives up on some errors and does not notice a silent
 * server: both are mended here.
 */
export class Feed extends EventTarget {
  #source = null;
  #timer = 0;
  #heard_ms = Date.now();
  isConnected = null;

  /** Connect, and stay connected. */
  open() {
    this.#connect();
    this.#timer = setInterval(() => this.#watch(), RETRY_MS);
    addEventListener("pagehide", () => this.#source?.close());
    addEventListener("pageshow", (event) => event.persisted && this.#connect());
  }

  #connect() {
    this.#source?.close();
    const source = new EventSource("api/v1/events");
    this.#source = source;
    this.#heard_ms = Date.now();
    source.addEventListener("open", () => {
      this.#heard();
      this.dispatchEvent(new CustomEvent("resumed"));
    });
    source.addEventListener("error", () => this.#contact(false));
    source.addEventListener("reset", () => this.dispatchEvent(new CustomEvent("resumed")));
    for (const kind of ["live", "alert", "incident"]) {
      source.addEventListener(kind, (event) => {
        this.#heard();
        const detail = JSON.parse(event.data);
        this.dispatchEvent(new CustomEvent(kind, { detail }));
      });
    }
  }

  #heard() {
    this.#heard_ms = Date.now();
    this.#contact(true);
  }

  #contact(isConnected) {
    if (isConnected === this.isConnected) return;
    this.isConnected = isConnected;
    this.dispatchEvent(new CustomEvent("contact", { detail: { isConnected, since_ms: Date.now() } }));
  }

  #watch() {
    const isSilent = Date.now() - this.#heard_ms > SILENCE_MS;
    if (isSilent) this.#contact(false);
    if (isSilent || this.#source.readyState === EventSource.CLOSED) this.#connect();
  }
}
