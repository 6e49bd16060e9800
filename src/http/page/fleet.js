// The cameras and models as the server tells them, asked for every two seconds while somebody looks, and what their
// accounts say about the seconds between.

import { backoff, pause } from "./server.js";
import * as words from "./words.js";

const INTERVAL = 2000;
/** A server that does not answer for so long is away: the network may have gone without a word. */
const PATIENCE = 5000;
/** Rates are told over so long. */
const WINDOW = 10_000;

/** Tells of a `change` after each answer. */
export class Fleet extends EventTarget {
  #server;
  #tracks = new Map();
  #wake = null;
  /** CameraInfo by id; null before the first answer. */
  cameras = null;
  /** ModelCapacity by the model's name. */
  capacities = new Map();
  /** Models as ListModels tells them, by name. */
  models = new Map();

  constructor(server) {
    super();
    this.#server = server;
    document.addEventListener("visibilitychange", () => this.refresh());
  }

  /** Asks for ever. */
  async run() {
    let failures = 0;
    for (;;) {
      try {
        if (!document.hidden) await this.#ask();
        failures = 0;
      } catch {
        // The server tells whoever listens that it is away.
        failures += 1;
      }
      this.nextAt = performance.now() + (failures ? backoff(failures) : INTERVAL);
      await Promise.race([pause(this.nextAt - performance.now()), new Promise((wake) => (this.#wake = wake))]);
    }
  }

  /** Asks now, rather than later. */
  refresh() {
    this.#wake?.();
  }

  /** Takes in what an answer to a change says of a camera. */
  put(info) {
    this.cameras?.set(info.camera.id, info);
    this.dispatchEvent(new Event("change"));
    this.refresh();
  }

  /** Forgets a camera that was removed. */
  remove(id) {
    this.cameras?.delete(id);
    this.dispatchEvent(new Event("change"));
    this.refresh();
  }

  /** Frames a second of a camera lately: received, published, and dropped by reason. */
  rates(id) {
    return this.#tracks.get(id)?.rates() ?? NO_RATES;
  }

  /** The lines between a model's landmarks. */
  skeleton(model) {
    return this.models.get(model)?.skeleton ?? [];
  }

  /** The name of the model that a camera uses. */
  modelOf(camera) {
    return camera.model ?? [...this.models.values()].find((model) => model.is_default)?.name;
  }

  async #ask() {
    const [{ cameras }, { models }] = await Promise.all([
      this.#server.call("CameraService", "ListCameras", {}, { patience: PATIENCE }),
      this.#server.call("CameraService", "GetCapacity", {}, { patience: PATIENCE }),
    ]);
    this.capacities = new Map(models.map((model) => [model.model, model]));
    // Cameras that are added, and models that are loaded, change their number.
    if (models.some(({ model }) => !this.models.has(model)) || models.length !== this.models.size) {
      await this.askModels();
    }
    this.cameras = new Map(cameras.map((info) => [info.camera.id, info]));
    for (const id of this.#tracks.keys()) if (!this.cameras.has(id)) this.#tracks.delete(id);
    for (const { camera, accounts } of cameras) {
      if (!this.#tracks.has(camera.id)) this.#tracks.set(camera.id, new Track());
      this.#tracks.get(camera.id).add(performance.now(), accounts);
    }
    this.dispatchEvent(new Event("change"));
  }

  /** Asks for the models anew. */
  async askModels() {
    const { models } = await this.#server.call("ModelService", "ListModels");
    this.models = new Map(models.map((model) => [model.name, model]));
  }
}

const NO_RATES = { received: undefined, published: undefined, dropped: new Map() };

/** The accounts of one camera lately. */
export class Track {
  #samples = [];

  /** The accounts at a time in milliseconds. */
  add(time, accounts) {
    const samples = this.#samples;
    // Counted anew: the server was restarted.
    if (samples.length > 0 && accounts.received < samples.at(-1).accounts.received) samples.length = 0;
    samples.push({ time, accounts });
    while (samples.length > 2 && samples[1].time <= time - WINDOW) samples.shift();
  }

  /** Per second, over the last ten seconds or what is known of them. */
  rates() {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (!first || last.time === first.time) return NO_RATES;
    const rate = (now, before = 0) => ((now - before) * 1000) / (last.time - first.time);
    const dropped = [...last.accounts.dropped]
      .map(([reason, now]) => [reason, rate(now, first.accounts.dropped.get(reason))])
      .filter(([, perSecond]) => perSecond > 0)
      .sort((a, b) => b[1] - a[1]);
    return {
      received: rate(last.accounts.received, first.accounts.received),
      published: rate(last.accounts.published, first.accounts.published),
      dropped: new Map(dropped),
    };
  }
}

/** What all cameras together do. */
export function totals(fleet) {
  const sum = { received: 0, published: 0, missed: 0, states: new Map() };
  for (const [id, { status }] of fleet.cameras ?? []) {
    const { key } = words.state(status);
    sum.states.set(key, (sum.states.get(key) ?? 0) + 1);
    const rates = fleet.rates(id);
    sum.received += rates.received ?? 0;
    sum.published += rates.published ?? 0;
    for (const [reason, perSecond] of rates.dropped) if (words.isMissed(reason)) sum.missed += perSecond;
  }
  return sum;
}
