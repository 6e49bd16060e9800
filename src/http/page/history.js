// How a camera fared in the last ten minutes: frames and ages, as small lines.

import { h, say } from "./dom.js";
import { pause } from "./server.js";
import { sparkline } from "./sparkline.js";
import * as words from "./words.js";

/** Steps of the server's history, in milliseconds. */
const STEP = 5000;
/** Steps of ten minutes. */
const STEPS = 120;

/** The lines of a camera, for as long as they are shown. */
export class History {
  #stop = new AbortController();
  #points = [];

  constructor(server, camera) {
    this.frames = sparkline("Frames a second", [
      { key: "received", text: "received" },
      { key: "published", text: "published" },
      { key: "dropped", text: "dropped" },
    ], words.fps);
    this.age = sparkline("Age", [
      { key: "mean", text: "mean" },
      { key: "max", text: "greatest" },
    ], words.age);
    this.problem = h("p", { class: "help" });
    this.element = h("div", { class: "history" }, this.frames.element, this.age.element, this.problem);
    this.#run(server, camera);
  }

  /** Ends it. */
  close() {
    this.#stop.abort();
  }

  async #run(server, camera) {
    const { signal } = this.#stop;
    let after;
    while (!signal.aborted) {
      try {
        const request = { camera_ids: [camera], after };
        const { cameras } = await server.call("LiveService", "GetHistory", request, { signal });
        after = this.#take(cameras[0]?.points ?? []) ?? after;
        say(this.problem, "");
      } catch (error) {
        if (!signal.aborted) say(this.problem, `No history: ${error.message}`);
      }
      await pause(STEP, signal).catch(() => {});
    }
  }

  /** Adds what is new; returns the time of the last point. */
  #take(points) {
    this.#points = [...this.#points, ...points.map(perSecond)].slice(-STEPS);
    this.frames.update(this.#points);
    this.age.update(this.#points);
    return points.at(-1)?.time;
  }
}

function perSecond({ received, published, dropped, mean_age, max_age }) {
  const seconds = STEP / 1000;
  return {
    received: received / seconds,
    published: published / seconds,
    dropped: dropped / seconds,
    mean: words.milliseconds(mean_age),
    max: words.milliseconds(max_age),
  };
}
