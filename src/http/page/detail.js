// One camera, large: its picture, what is drawn of it, what happens, how it fared, its settings.

import { confirmed, sentence } from "./ask.js";
import { announce, button, h, icon, mark, say } from "./dom.js";
import { EventList } from "./events.js";
import { DrawFilter } from "./filter.js";
import { openForm } from "./form.js";
import { History } from "./history.js";
import { described, Picture } from "./picture.js";
import { settingsList } from "./settings.js";
import { stateBadge, trouble } from "./status.js";
import { sideFor } from "./wall.js";
import * as words from "./words.js";

/** Milliseconds between two looks at the figures. */
const FIGURES = 500;

/** The view of a camera, for as long as it is shown. */
export class Detail {
  #parts;
  #shownAt = -Infinity;
  #onChange = () => this.#update();

  constructor(id, { server, fleet, viewer, session }) {
    Object.assign(this, { id, server, fleet, viewer, session });
    this.filter = new DrawFilter(() => this.picture.draw());
    this.canvas = h("canvas", { role: "img", width: 1, height: 1 });
    this.picture = new Picture(this.canvas, {
      skeleton: (model) => fleet.skeleton(model),
      filter: (detection) => this.filter.passes(detection),
    });
    this.events = new EventList(server, id, (detection) => this.filter.passes(detection));
    this.history = new History(server, id);
    this.#parts = this.#make();
    this.element = this.#layout();
    viewer.onPicture = (message) => this.#show(message);
    this.sizes = new ResizeObserver(() => this.#watch());
    this.sizes.observe(this.canvas);
    fleet.addEventListener("change", this.#onChange);
    session.addEventListener("change", this.#onChange);
    this.#update();
  }

  /** Ends it. */
  close() {
    this.fleet.removeEventListener("change", this.#onChange);
    this.session.removeEventListener("change", this.#onChange);
    this.sizes.disconnect();
    this.viewer.watch([]);
    for (const part of [this.picture, this.events, this.history]) part.close();
    this.element.remove();
  }

  /** Takes the focus. */
  focus() {
    this.#parts.title.focus();
  }

  #make() {
    return {
      title: h("h1", { tabindex: -1 }),
      badge: stateBadge(),
      trouble: trouble(),
      figures: h("p", { class: "now" }),
      notice: h("p", { class: "notice", hidden: true }),
      problem: h("p", { class: "error", role: "alert" }),
      settings: h("dl", { class: "settings" }),
      edit: button("Edit", { sign: "edit", onclick: () => this.#edit() }),
      toggle: button("Turn off", { sign: "off", onclick: () => this.#toggle() }),
      snapshot: button("Snapshot", { sign: "camera", onclick: () => this.#snapshot() }),
      remove: button("Remove", { sign: "remove", class: "danger", onclick: () => this.#remove() }),
    };
  }

  #layout() {
    const { title, badge, trouble: over, figures, notice, problem, settings } = this.#parts;
    const { edit, toggle, snapshot, remove } = this.#parts;
    const panel = (name, ...children) => h("section", { class: "panel" }, h("h2", {}, name), ...children);
    return h(
      "article",
      { class: "detail", "data-camera": this.id },
      h("header", { class: "crumbs" },
        h("a", { href: "#/", class: "button quiet" }, icon("back"), "All cameras"), title, badge.element, figures),
      h("div", { class: "columns" },
        h("div", { class: "main" },
          h("div", { class: "screen" }, this.canvas, over.element),
          h("div", { class: "actions" }, edit, toggle, snapshot, remove),
          notice, problem,
          panel("Drawn", this.filter.element),
          panel("The last ten minutes", this.history.element)),
        h("div", { class: "side" }, panel("Events", this.events.element), panel("Settings", settings))),
    );
  }

  #show(message) {
    if (message.detections.camera_id !== this.id) return;
    const over = this.#parts.trouble.element;
    this.picture.show(message).then(() => (over.hidden = this.picture.message !== null));
    this.filter.see(message.detections.detections);
    const now = performance.now();
    if (now - this.#shownAt < FIGURES) return;
    this.#shownAt = now;
    this.age = words.milliseconds(message.age);
    const name = this.#parts.title.textContent;
    mark(this.canvas, "aria-label", described(name, message, (one) => this.filter.passes(one)));
    this.#updateFigures();
  }

  #update() {
    const info = this.fleet.cameras?.get(this.id);
    if (!info) return this.#gone();
    const { key } = words.state(info.status);
    mark(this.element, "data-state", key);
    say(this.#parts.title, words.name(info.camera));
    this.#parts.badge.update(info.status);
    this.#parts.trouble.update(info, this.picture.message !== null);
    if (key === "off" || key === "ended") this.picture.clear();
    if (!this.picture.message) mark(this.canvas, "aria-label", described(words.name(info.camera), null));
    const { frame_width: width, frame_height: height } = info.status;
    if (height > 0) this.element.style.setProperty("--aspect", (width / height).toFixed(3));
    this.#updateActions(info);
    this.#updateFigures();
    settingsList(this.#parts.settings, info, this.fleet);
    this.#watch();
  }

  #gone() {
    if (this.fleet.cameras === null) return;
    say(this.#parts.title, this.id);
    say(this.#parts.problem, `There is no camera ${this.id}.`);
  }

  #updateActions({ camera, origin }) {
    const { edit, toggle, remove, notice } = this.#parts;
    const isOn = camera.enabled ?? true;
    say(toggle.querySelector("span"), isOn ? "Turn off" : "Turn on");
    const ofFile = origin === "CAMERA_ORIGIN_CONFIG"
      ? "This camera is defined in the server's settings file: change it there, and restart the server." : null;
    const reason = ofFile ?? (this.session.readOnly ? sentence(this.session.readOnly) : null);
    for (const one of [edit, toggle, remove]) one.disabled = reason !== null;
    notice.hidden = reason === null;
    notice.replaceChildren(icon("lock"), reason ?? "");
  }

  #updateFigures() {
    const rates = this.fleet.rates(this.id);
    const dropped = [...rates.dropped].map(([reason, rate]) => `${words.fps(rate)} ${words.drop(reason)}`);
    const told = [`${words.fps(rates.published)} of ${words.fps(rates.received)} frames/s`, `age ${words.age(this.age)}`];
    if (dropped.length > 0) told.push(`dropped a second: ${dropped.join(", ")}`);
    say(this.#parts.figures, told.join(" · "));
  }

  #watch() {
    const state = this.element.dataset.state;
    const isOn = state !== undefined && state !== "off" && state !== "ended";
    this.viewer.watch(isOn ? [{ camera_id: this.id, max_side: Math.max(640, sideFor(this.picture.side)) }] : []);
  }

  #edit() {
    const { camera } = this.fleet.cameras.get(this.id);
    openForm({ server: this.server, fleet: this.fleet, camera, onSaved: (info) => this.fleet.put(info) });
  }

  async #toggle() {
    const isOn = this.fleet.cameras.get(this.id).camera.enabled ?? true;
    const request = { camera: { id: this.id, enabled: !isOn }, update_mask: { paths: ["enabled"] } };
    const answer = await this.#attempt(this.server.call("CameraService", "UpdateCamera", request));
    if (answer) this.fleet.put(answer.camera);
  }

  async #remove() {
    const name = this.#parts.title.textContent;
    const text = "The server forgets it and its settings. Its address must be typed again to have it back.";
    if (!(await confirmed(`Remove ${name}?`, text, "Remove"))) return;
    if (!(await this.#attempt(this.server.call("CameraService", "RemoveCamera", { id: this.id })))) return;
    this.fleet.remove(this.id);
    announce(`${name} removed`);
    location.hash = "#/";
  }

  async #snapshot() {
    const blob = await this.#attempt(this.server.file(`/cameras/${encodeURIComponent(this.id)}/snapshot.jpg?boxes=1`));
    if (!blob) return;
    const url = URL.createObjectURL(blob);
    h("a", { href: url, download: `${this.id}.jpg` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  /** What a call answers; nothing, and the reason on the page, if it fails. */
  async #attempt(call) {
    say(this.#parts.problem, "");
    try {
      return await call;
    } catch (error) {
      say(this.#parts.problem, sentence(error.message));
      return null;
    }
  }
}
