// One stream of pictures for all cameras that are looked at.

import { backoff, pause } from "./server.js";

/** Cameras that scroll by are not asked for one by one. */
const SETTLE = 150;

/** Watches what it is told to while the page can be seen. */
export class Viewer {
  #server;
  #views = [];
  #asked = "[]";
  #stop = null;
  #timer = null;

  /** `onPicture` gets each message of LiveService.Watch, `onError` what a stream ended with. */
  constructor(server, { onPicture, onError = () => {} }) {
    this.#server = server;
    this.onPicture = onPicture;
    this.onError = onError;
    document.addEventListener("visibilitychange", () => this.#settle());
    server.addEventListener("change", () => server.away === null && this.#again());
  }

  /** From now on these: messages View. */
  watch(views) {
    this.#views = views;
    this.#settle();
  }

  #settle() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#change(), document.hidden ? 0 : SETTLE);
  }

  #change() {
    const views = document.hidden ? [] : this.#views;
    const asked = JSON.stringify(views);
    if (asked === this.#asked) return;
    this.#asked = asked;
    this.#stop?.abort();
    this.#stop = views.length > 0 ? new AbortController() : null;
    if (this.#stop) this.#run(views, this.#stop.signal);
  }

  /** The server is back: nobody wants to wait for the next attempt. */
  #again() {
    this.#asked = "[]";
    this.#change();
  }

  /** Streams until the signal, and begins anew after each failure. */
  async #run(views, signal) {
    for (let failures = 1; !signal.aborted; failures += 1) {
      try {
        for await (const message of this.#server.stream("LiveService", "Watch", { views }, { signal })) {
          failures = 0;
          this.onPicture(message);
        }
      } catch (error) {
        if (signal.aborted) return;
        this.onError(error);
      }
      await pause(backoff(Math.max(1, failures)), signal).catch(() => {});
    }
  }
}
