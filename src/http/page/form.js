// The dialog that adds or changes a camera, and tries its address first.

import { heading, open, sentence } from "./ask.js";
import { announce, button, h, say } from "./dom.js";
import { cameraFields } from "./fields.js";
import * as words from "./words.js";

const BASIC = ["name", "id", "url"];

/** Opens the dialog: for a new camera, or for the settings `camera`. `onSaved` gets the camera's CameraInfo. */
export function openForm({ server, fleet, camera = null, onSaved }) {
  return open(new Form({ server, fleet, camera, onSaved }).dialog);
}

class Form {
  constructor({ server, fleet, camera, onSaved }) {
    Object.assign(this, { server, camera, onSaved });
    this.fields = cameraFields(fleet.models);
    for (const [name, field] of Object.entries(this.fields)) field.set(camera?.[name]);
    this.before = this.values();
    this.outcome = h("div", { class: "outcome", role: "status" });
    this.alert = h("p", { class: "error", role: "alert" });
    this.save = h("button", { type: "submit", class: "primary" }, camera ? "Save" : "Add camera");
    this.test = button("Test this URL", { sign: "camera", onclick: () => this.#try() });
    this.dialog = this.#dialog();
    this.dialog.addEventListener("close", () => this.#forgetPicture());
    if (camera) this.fields.id.control.readOnly = true;
    else this.#suggestId();
  }

  /** The settings as they stand in the form. */
  values() {
    return Object.fromEntries(Object.entries(this.fields).map(([name, field]) => [name, field.get()]));
  }

  #dialog() {
    const more = Object.entries(this.fields).filter(([name]) => !BASIC.includes(name));
    const title = this.camera ? `Edit ${words.name(this.camera)}` : "Add camera";
    const form = h(
      "form",
      { class: "fields", novalidate: true, onsubmit: (event) => this.#submit(event) },
      ...BASIC.map((name) => this.fields[name].element),
      this.camera ? h("p", { class: "hint" }, "*** stands for a secret. Leave the address as it is to keep it.") : null,
      h("div", { class: "test" }, this.test, this.outcome),
      h("details", { class: "more" }, h("summary", {}, "More settings"),
        h("div", { class: "grid" }, ...more.map(([, field]) => field.element))),
      this.alert,
      h("footer", {}, button("Cancel", { onclick: () => this.dialog.close() }), this.save),
    );
    return h("dialog", { "aria-labelledby": "form-title" }, heading(title, "form-title", () => this.dialog), form);
  }

  /** Until somebody writes an id, it follows the name. */
  #suggestId() {
    const { name, id } = this.fields;
    let isOurs = true;
    id.control.addEventListener("input", () => (isOurs = id.get() === ""));
    name.control.addEventListener("input", () => {
      if (isOurs) id.set(name.get().toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 64));
    });
  }

  async #try() {
    if (!this.#check(["url"])) return;
    this.#forgetPicture();
    this.outcome.replaceChildren(h("p", { class: "busy" }, "Connecting …"));
    this.test.disabled = true;
    try {
      const answer = await this.server.call("CameraService", "TestCamera", { camera: this.values() });
      this.outcome.replaceChildren(...(answer.jpeg.length > 0 ? this.#picture(answer) : failure(answer)));
    } catch (error) {
      this.outcome.replaceChildren();
      this.#complain(error);
    }
    this.test.disabled = false;
  }

  #picture({ jpeg, frame_width, frame_height, took }) {
    this.url = URL.createObjectURL(new Blob([jpeg], { type: "image/jpeg" }));
    const time = words.age(words.milliseconds(took));
    return [
      h("img", { src: this.url, alt: "The first picture of this address" }),
      h("p", { class: "good" }, `A picture of ${frame_width} × ${frame_height} came after ${time}.`),
    ];
  }

  #forgetPicture() {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
  }

  async #submit(event) {
    event.preventDefault();
    if (!this.#check(Object.keys(this.fields))) return;
    const [method, request] = this.camera ? this.#update() : ["AddCamera", { camera: this.values() }];
    if (!method) return this.dialog.close();
    this.save.disabled = true;
    try {
      const { camera } = await this.server.call("CameraService", method, request);
      this.dialog.close();
      announce(`${words.name(camera.camera)} ${this.camera ? "changed" : "added"}`);
      this.onSaved(camera);
    } catch (error) {
      this.save.disabled = false;
      this.#complain(error);
    }
  }

  /** The change from the settings before; nothing if there is none. */
  #update() {
    const now = this.values();
    const same = (name) => JSON.stringify(now[name]) === JSON.stringify(this.before[name]);
    const paths = Object.keys(now).filter((name) => !same(name));
    if (paths.length === 0) return [];
    const changed = Object.fromEntries([...paths, "id"].map((name) => [name, now[name]]));
    return ["UpdateCamera", { camera: changed, update_mask: { paths } }];
  }

  /** What the browser itself can tell, before the server is asked. */
  #check(names) {
    this.#clear();
    for (const name of names) {
      const { control, complain } = this.fields[name];
      if (control.validity && !control.validity.valid) complain(control.validationMessage);
    }
    return this.#focusFirst();
  }

  #complain(error) {
    this.#clear();
    let left = error.violations ?? [];
    for (const { field, description } of left) this.fields[field.replace(/^camera\./, "")]?.complain(sentence(description));
    left = left.filter(({ field }) => !this.fields[field.replace(/^camera\./, "")]);
    if (left.length > 0 || !error.violations?.length) say(this.alert, sentence(error.message));
    if (this.#focusFirst()) this.save.focus();
  }

  #clear() {
    for (const field of Object.values(this.fields)) field.complain("");
    say(this.alert, "");
  }

  /** Goes to the first field with a complaint; tells whether there is none. */
  #focusFirst() {
    const wrong = this.dialog.querySelector("[aria-invalid]");
    wrong?.closest("details")?.setAttribute("open", "");
    (wrong?.matches("fieldset, div") ? wrong.querySelector("input") : wrong)?.focus();
    return !wrong;
  }
}

function failure({ failure: kind, reason, took }) {
  const title = words.failure(kind) || "No picture came";
  const time = words.age(words.milliseconds(took));
  return [h("p", { class: "bad" }, h("strong", {}, `${title}. `), sentence(reason), ` (after ${time})`)];
}
