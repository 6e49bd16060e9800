// What is always there: how all cameras are, how much is looked at, how near the limit each model is.

import { button, h, icon, mark, say } from "./dom.js";
import { totals } from "./fleet.js";
import * as words from "./words.js";

/** A model is near its limit from this share on, and over it from 1. */
const NEAR = 0.8;

/** Fills the page's header. */
export class Header {
  #fleet;
  #states = new Map();
  #loads = new Map();

  constructor(element, { fleet, session, onAdd, onSignOut }) {
    this.#fleet = fleet;
    this.session = session;
    this.states = h("ul", { class: "states", "aria-label": "Cameras by state" });
    this.speed = h("strong", {}, "–");
    this.dropped = h("strong", {}, "–");
    this.loads = h("ul", { class: "loads", "aria-label": "Load of the models" });
    this.add = button("Add camera", { sign: "add", class: "primary", onclick: onAdd });
    this.signOut = button("Sign out", { sign: "key", class: "quiet", onclick: onSignOut });
    element.querySelector(".totals").append(
      this.states,
      h("p", { class: "total" }, this.speed, " frames/s"),
      h("p", { class: "total" }, this.dropped, " dropped"),
      this.loads,
    );
    element.querySelector(".actions").append(this.add, themeButton(), this.signOut);
    fleet.addEventListener("change", () => this.#update());
    session.addEventListener("change", () => this.#updateSession());
    this.#updateSession();
  }

  #updateSession() {
    const { readOnly, token } = this.session;
    this.signOut.hidden = !token;
    this.add.disabled = readOnly !== null;
    mark(this.add, "title", readOnly);
  }

  #update() {
    const sum = totals(this.#fleet);
    for (const { key, text } of words.states) this.#showState(key, text, sum.states.get(key) ?? 0);
    say(this.speed, words.fps(sum.published));
    const share = sum.received > 0 ? sum.missed / sum.received : 0;
    say(this.dropped, words.percent(share));
    mark(this.dropped, "data-warn", share > 0.01 ? "" : null);
    for (const model of this.#fleet.capacities.values()) this.#showLoad(model);
    for (const [name, load] of this.#loads) if (!this.#fleet.capacities.has(name)) this.#dropLoad(name, load);
  }

  #showState(key, text, number) {
    if (!this.#states.has(key)) {
      const value = h("strong");
      const element = h("li", { "data-state": key }, icon(key), value, h("span", {}, text.toLowerCase()));
      this.#states.set(key, { element, value });
      this.states.append(element);
    }
    const { element, value } = this.#states.get(key);
    // That nobody is live is worth telling.
    element.hidden = number === 0 && key !== "live";
    say(value, String(number));
  }

  #showLoad(model) {
    if (!this.#loads.has(model.model)) {
      const element = loadMeter(model.model);
      this.#loads.set(model.model, element);
      this.loads.append(element.element);
    }
    this.#loads.get(model.model).update(model);
  }

  #dropLoad(name, load) {
    load.element.remove();
    this.#loads.delete(name);
  }
}

/** How much of what a model can do is asked for. */
export function loadMeter(name) {
  const meter = h("meter", { min: 0, max: 1, high: NEAR, optimum: 0, value: 0, "aria-label": `Load of ${name}` });
  const value = h("strong");
  const element = h("li", { class: "load" }, h("span", {}, name), meter, value);
  return {
    element,
    update({ capacity_fps, load_fps }) {
      const share = capacity_fps > 0 ? load_fps / capacity_fps : undefined;
      meter.value = Math.min(1, share ?? 0);
      mark(element, "data-warn", share > NEAR ? "" : null);
      say(value, share === undefined ? "not measured yet" : words.percent(share));
      const capacity = capacity_fps === undefined ? "" : ` of ${words.fps(capacity_fps)}`;
      mark(element, "title", `${words.fps(load_fps)}${capacity} frames a second`);
    },
  };
}

function themeButton() {
  const toggle = h("button", { type: "button", class: "quiet square", onclick: () => dispatchEvent(new Event("toggletheme")) });
  const show = () => {
    const isDark = document.documentElement.dataset.theme === "dark";
    toggle.replaceChildren(icon(isDark ? "sun" : "moon"));
    mark(toggle, "aria-label", isDark ? "Light theme" : "Dark theme");
    mark(toggle, "title", isDark ? "Light theme (t)" : "Dark theme (t)");
  };
  document.addEventListener("theme", show);
  show();
  return toggle;
}
