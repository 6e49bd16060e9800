// What happens at one camera, in words: what appears and goes, changes of its state, what was missed.

import { colour } from "./colours.js";
import { h, icon } from "./dom.js";
import { backoff, pause } from "./server.js";
import * as words from "./words.js";

/** An object that is not found for so long has gone: detections flicker. */
const GONE = 2000;
/** Entries that are kept. */
const MOST = 200;

/** Which classes are in the picture, from frame to frame. */
export class Presence {
  #classes = new Map();

  /** Takes in a frame at a time in milliseconds; returns what changed. */
  see(detections, now) {
    const events = [];
    for (const { label, class_id, score } of detections) {
      const known = this.#classes.get(label);
      if (!known) events.push({ kind: "appeared", label, class_id, score });
      this.#classes.set(label, { class_id, since: known?.since ?? now, last: now });
    }
    for (const [label, { class_id, since, last }] of this.#classes) {
      if (now - last < GONE) continue;
      this.#classes.delete(label);
      events.push({ kind: "gone", label, class_id, after: last - since });
    }
    return events;
  }
}

/** The list of events of a camera, newest first, for as long as it is shown. */
export class EventList {
  #stop = new AbortController();
  #presence = new Presence();

  constructor(server, camera, filter) {
    this.filter = filter;
    this.list = h("ol", { class: "events", "aria-label": "Events, newest first", tabindex: 0 });
    this.empty = h("li", { class: "none" }, "Nothing happened yet.");
    this.list.append(this.empty);
    this.element = this.list;
    this.#run(server, camera);
  }

  /** Ends it. */
  close() {
    this.#stop.abort();
  }

  async #run(server, camera) {
    const { signal } = this.#stop;
    for (let failures = 1; !signal.aborted; failures += 1) {
      try {
        const request = { camera_ids: [camera] };
        for await (const event of server.stream("DetectionService", "Subscribe", request, { signal })) {
          failures = 0;
          this.#take(event);
        }
      } catch {
        if (signal.aborted) return;
      }
      await pause(backoff(Math.max(1, failures)), signal).catch(() => {});
    }
  }

  #take(event) {
    if (event.event === "detections") this.#seen(event.detections);
    if (event.event === "camera_state") this.#changed(event.camera_state.status);
    if (event.event === "dropped") this.#put("missed", `This page missed ${event.dropped.frames} frames`);
  }

  #seen({ detections, capture_time }) {
    const now = words.milliseconds(capture_time);
    for (const event of this.#presence.see(detections.filter(this.filter), now)) {
      const text =
        event.kind === "appeared"
          ? `${event.label} appeared (${Math.round(event.score * 100)} %)`
          : `${event.label} gone after ${words.span(event.after)}`;
      this.#put(event.kind, text, colour(event.class_id), now);
    }
  }

  #changed(status) {
    const { key, text } = words.state(status);
    this.#put(key, status.reason ? `${text}: ${status.reason}` : text, null, words.milliseconds(status.since));
  }

  #put(kind, text, dot = null, time = Date.now()) {
    this.empty.remove();
    const sign = dot ? h("span", { class: "dot" }) : kind === "missed" ? h("span", { class: "dot" }) : icon(kind);
    if (dot) sign.style.setProperty("--of", dot);
    this.list.prepend(h("li", { "data-kind": kind, "data-state": kind }, h("time", {}, words.clock(time)), sign, h("span", {}, text)));
    while (this.list.children.length > MOST) this.list.lastChild.remove();
  }
}
