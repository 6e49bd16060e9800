// What is drawn of what was found: a least score, and classes that are left out. Nothing is asked of the server.

import { colour } from "./colours.js";
import { h, say } from "./dom.js";

/** The controls of a picture, and what they let through. */
export class DrawFilter {
  #least = 0;
  #hidden = new Set();
  #known = new Map();

  /** `onChange` is called when what is let through is another. */
  constructor(onChange) {
    this.onChange = onChange;
    this.value = h("output", { for: "least-score" }, "all");
    const slider = h("input", { type: "range", id: "least-score", min: 0, max: 95, step: 1, value: 0 });
    slider.addEventListener("input", () => this.#slide(Number(slider.value)));
    this.classes = h("div", { class: "classes", role: "group", "aria-label": "Classes to draw" });
    this.element = h(
      "div",
      { class: "filter" },
      h("label", { for: "least-score" }, "Least score "),
      slider,
      this.value,
      this.classes,
    );
  }

  /** Whether a detection is drawn. */
  passes({ score, label }) {
    return score >= this.#least && !this.#hidden.has(label);
  }

  /** Takes in which classes there are. */
  see(detections) {
    for (const { label, class_id } of detections) if (!this.#known.has(label)) this.#add(label, class_id);
  }

  #slide(percent) {
    this.#least = percent / 100;
    say(this.value, percent === 0 ? "all" : `${percent} %`);
    this.onChange();
  }

  #add(label, classId) {
    const box = h("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      if (box.checked) this.#hidden.delete(label);
      else this.#hidden.add(label);
      this.onChange();
    });
    const dot = h("span", { class: "dot" });
    dot.style.setProperty("--of", colour(classId));
    const element = h("label", { class: "chip" }, box, dot, label);
    this.#known.set(label, element);
    this.classes.append(element);
  }
}
