// The models that are served: what each finds, how fast it is, how much of that is asked for, and who asks.

import { h, say } from "./dom.js";
import { loadMeter } from "./header.js";
import * as words from "./words.js";

/** Classes that are named before "and so on". */
const NAMED = 12;

/** The view of the models, for as long as it is shown. */
export class Models {
  #fleet;
  #cards = new Map();
  #onChange = () => this.#update();

  constructor(fleet) {
    this.#fleet = fleet;
    this.list = h("ul", { class: "models" });
    this.element = h("section", { "aria-labelledby": "models-title" },
      h("h1", { id: "models-title", tabindex: -1 }, "Models"), this.list);
    fleet.addEventListener("change", this.#onChange);
    this.#update();
    fleet.askModels().then(this.#onChange, () => {});
  }

  /** Ends it. */
  close() {
    this.#fleet.removeEventListener("change", this.#onChange);
  }

  /** Takes the focus. */
  focus() {
    this.element.querySelector("h1").focus();
  }

  #update() {
    const { models, cameras, capacities } = this.#fleet;
    for (const [name, card] of this.#cards) if (!models.has(name)) this.#drop(name, card);
    for (const [name, model] of models) {
      const digest = JSON.stringify(model);
      if (this.#cards.get(name)?.digest !== digest) this.#put(name, model, digest);
      const users = [...(cameras ?? [])].filter(([, { camera }]) => this.#fleet.modelOf(camera) === name);
      this.#cards.get(name).update(capacities.get(name), users.map(([, info]) => info.camera));
    }
  }

  #put(name, model, digest) {
    const card = { ...modelCard(model), digest };
    const before = this.#cards.get(name);
    if (before) before.element.replaceWith(card.element);
    else this.list.append(card.element);
    this.#cards.set(name, card);
  }

  #drop(name, card) {
    card.element.remove();
    this.#cards.delete(name);
  }
}

function modelCard(model) {
  const load = loadMeter(model.name);
  const [speed, left, users] = [h("dd"), h("dd"), h("dd")];
  const row = (name, value) => h("div", {}, h("dt", {}, name), value instanceof Node ? value : h("dd", {}, value));
  const element = h(
    "li",
    { class: "panel model", "data-model": model.name },
    h("h2", {}, model.name, model.is_default ? h("span", { class: "tag" }, "default") : null),
    h("ul", { class: "loads" }, load.element),
    h("dl", { class: "settings" },
      row("Can look at", speed), row("Left", left), row("Cameras", users),
      row("Family", model.family), row("Input", `${model.input_width} × ${model.input_height}`),
      row("Engine", model.engine), row(`Finds (${model.classes.length})`, classList(model.classes)),
      row("Landmarks", model.landmarks.join(", ") || "none"),
      row("Source", model.source), row("Licence", model.license)),
  );
  const update = (capacity, cameras) => {
    if (capacity) load.update(capacity);
    const known = capacity?.capacity_fps !== undefined;
    say(speed, known ? `${words.fps(capacity.capacity_fps)} frames/s` : "not measured yet");
    say(left, known ? `${words.fps(capacity.left_fps)} frames/s` : "not measured yet");
    say(users, cameras.map(words.name).join(", ") || "none");
  };
  return { element, update };
}

function classList(classes) {
  if (classes.length <= NAMED) return h("dd", {}, classes.join(", "));
  const all = h("details", {}, h("summary", {}, `${classes.slice(0, NAMED).join(", ")} …`), classes.slice(NAMED).join(", "));
  return h("dd", {}, all);
}
