// Whether it is well: asked for once for all pages.

import { follow } from "./api.js";

const EVERY_MS = 5_000;

/** Dispatches `change` when the answer is another one, or there is none: then `error` says why. */
export class Status extends EventTarget {
  answer = null;
  error = null;
  #asked = { again() {} };

  /** Begin to ask. */
  open() {
    this.#asked = follow(
      "status",
      EVERY_MS,
      (answer) => this.#set(answer, null),
      (error) => this.#set(this.answer, error),
    );
  }

  /** Ask now. */
  again() {
    this.#asked.again();
  }

  #set(answer, error) {
    this.answer = answer;
    this.error = error;
    this.dispatchEvent(new Event("change"));
  }
}
