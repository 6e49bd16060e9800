// One camera on the wall.

import { h, mark, say } from "./dom.js";
import { described, Picture } from "./picture.js";
import { stateBadge, trouble } from "./status.js";
import * as words from "./words.js";

/** Milliseconds between two descriptions of the picture for those who do not see it. */
const DESCRIBE = 3000;
/** A share of dropped frames that is worth a warning. */
const MANY = 0.01;

/** A list item that shows a camera. */
export class Card {
  #fleet;
  #describedAt = -Infinity;

  constructor(id, fleet) {
    this.id = id;
    this.#fleet = fleet;
    this.canvas = h("canvas", { role: "img", width: 1, height: 1 });
    this.picture = new Picture(this.canvas, { skeleton: (model) => fleet.skeleton(model) });
    this.title = h("a", { href: `#/camera/${encodeURIComponent(id)}`, class: "title" });
    this.badge = stateBadge();
    this.trouble = trouble();
    this.seen = h("p", { class: "seen" });
    this.figures = { fps: figure("fps"), age: figure("age"), dropped: figure("dropped") };
    const figures = h("dl", { class: "figures" }, ...Object.values(this.figures).map(({ whole }) => whole));
    this.element = h(
      "li",
      { class: "card", "data-camera": id },
      h("div", { class: "screen" }, this.canvas, this.trouble.element),
      h("div", { class: "caption" }, h("h2", {}, this.title), this.badge.element, figures, this.seen),
    );
  }

  /** Shows what the server says of the camera. */
  update() {
    const info = this.#fleet.cameras.get(this.id);
    const { key } = words.state(info.status);
    mark(this.element, "data-state", key);
    say(this.title, words.name(info.camera));
    this.badge.update(info.status);
    this.trouble.update(info, this.picture.message !== null);
    if (key === "off" || key === "ended") this.picture.clear();
    const rates = this.#fleet.rates(this.id);
    say(this.figures.fps.value, words.fps(rates.published));
    this.#showDrops(rates);
    if (key !== "live") say(this.figures.age.value, "–");
    if (key !== "live") say(this.seen, "");
    if (!this.picture.message) mark(this.canvas, "aria-label", described(words.name(info.camera), null));
  }

  /** Shows a message of LiveService.Watch. */
  show(message) {
    this.picture.show(message).then(() => (this.trouble.element.hidden = this.picture.message !== null));
    const now = performance.now();
    if (now - this.#describedAt < DESCRIBE) return;
    this.#describedAt = now;
    say(this.figures.age.value, words.age(words.milliseconds(message.age)));
    say(this.seen, words.objects(message.detections.detections));
    mark(this.canvas, "aria-label", described(this.title.textContent, message));
  }

  /** Ends it. */
  close() {
    this.picture.close();
    this.element.remove();
  }

  #showDrops({ received, dropped }) {
    const missed = [...dropped].filter(([reason]) => words.isMissed(reason));
    const share = received ? missed.reduce((sum, [, rate]) => sum + rate, 0) / received : 0;
    const { value, whole, note } = this.figures.dropped;
    say(value, words.percent(share));
    mark(whole, "data-warn", share > MANY ? "" : null);
    const told = missed.map(([reason, rate]) => `${words.percent(rate / received)} ${words.drop(reason)}`);
    mark(whole, "title", told.join(", ") || null);
    say(note, missed.map(([reason]) => words.drop(reason)).join(", "));
  }
}

/** A figure with its name, and room for a note. */
function figure(name) {
  const value = h("dd", {}, "–");
  const note = h("dd", { class: "note" });
  return { whole: h("div", {}, h("dt", {}, name), value, note), value, note };
}
