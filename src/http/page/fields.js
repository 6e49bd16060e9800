// The settings of a camera as fields of a form: how each is asked for, written into a message and read from one.

import { h, mark, say } from "./dom.js";
import * as words from "./words.js";

const number = (text) => (text.trim() === "" ? undefined : Number(text));
const text = (name, attributes) => {
  const control = h("input", { type: "text", autocomplete: "off", spellcheck: "false", ...attributes });
  return { name, control, get: () => control.value.trim(), set: (value) => (control.value = value ?? "") };
};
const numeric = (name, attributes, out = (value) => value, back = (value) => value) => {
  const control = h("input", { type: "number", inputmode: "decimal", ...attributes });
  return {
    name,
    control,
    get: () => (number(control.value) === undefined ? undefined : out(number(control.value))),
    set: (value) => (control.value = value === undefined ? "" : back(value)),
  };
};
const choice = (name, options) => {
  const control = h("select", {}, ...options.map(([value, shown]) => h("option", { value }, shown)));
  const set = (value) => (control.value = options.some(([known]) => known === value) ? value : "");
  return { name, control, get: () => control.value || undefined, set };
};
const tick = (name, standard) => {
  const control = h("input", { type: "checkbox" });
  const set = (value) => (control.checked = value ?? standard);
  return { name, control, get: () => control.checked, set, isTick: true };
};

/** A number as float32 travels, as a person writes it. */
const short = (value) => Number(value.toPrecision(6));

/** Check boxes for the classes of the model that is chosen. */
function classes(models, model) {
  let wanted = new Set();
  const boxes = h("div", { class: "classes" });
  const show = () => {
    const known = models.get(model.get()) ?? [...models.values()].find((one) => one.is_default);
    // Classes of another model stay, so that they can be taken out.
    const names = [...new Set([...(known?.classes ?? []), ...wanted])];
    boxes.replaceChildren(...names.map((name) => {
      const box = h("input", { type: "checkbox", value: name });
      box.checked = wanted.has(name);
      box.addEventListener("change", () => (box.checked ? wanted.add(name) : wanted.delete(name)));
      return h("label", { class: "chip" }, box, name);
    }));
  };
  model.control.addEventListener("change", show);
  show();
  const set = (value) => {
    wanted = new Set(value);
    show();
  };
  return { name: "classes", control: boxes, get: () => [...wanted], set, isGroup: true };
}

/** All fields of a camera. */
export function cameraFields(models) {
  const model = choice("model", [["", "The server's default"], ...[...models.keys()].map((name) => [name, name])]);
  const transport = choice("transport", [["", "TCP (default)"], ["TRANSPORT_UDP", "UDP"]]);
  const optional = { placeholder: "server's default" };
  return {
    name: field(text("name", { maxlength: 200, placeholder: "The yard" }), "Name", "For people. Empty: the id."),
    id: field(text("id", { required: true, maxlength: 64, pattern: "[A-Za-z0-9_.\\-]+", placeholder: "yard" }), "Id",
      "Letters, digits, - _ and . It stays as it is for the camera's life."),
    url: field(text("url", { required: true, inputmode: "url", placeholder: "rtsp://user:password@10.0.0.9/stream1" }),
      "Address", "rtsp://user:password@host/path, http://host/video.mjpg, https://host/live.m3u8 or test://ball. " +
      "Special characters of a password are percent-encoded: p@ss is p%40ss."),
    enabled: field(tick("enabled", true), "Connected", "Off: the camera is kept and not connected."),
    model: field(model, "Model", "What looks at its frames."),
    classes: field(classes(models, model), "Classes to report", "None ticked: all of them."),
    min_score: field(numeric("min_score", { min: 0, max: 1, step: "any", ...optional }, undefined, short),
      "Least score", "0 to 1. Detections under it are left out."),
    max_fps: field(numeric("max_fps", { min: 0, step: "any", placeholder: "all frames" }), "Frames a second",
      "To look at, at most. Fewer leave more for other cameras."),
    max_age: field(numeric("max_age", { min: 1, max: 3600000, step: "any", ...optional }, words.protoTime,
      words.milliseconds), "Greatest age, ms", "Detections that would be older are not published."),
    priority: field(numeric("priority", { min: 1, max: 10, step: 1, placeholder: "1" }), "Priority",
      "1 to 10. When it is too much, 2 gets twice the turns of 1."),
    transport: field(transport, "RTP transport", "Of RTSP cameras. UDP where TCP lags behind."),
    loop: field(tick("loop", false), "Loop", "A file starts again when it ends."),
  };
}

/** A control with its label, its help and room for what is wrong with it. */
function field(kind, label, help) {
  const id = `camera-${kind.name}`;
  const error = h("p", { class: "error", id: `${id}-error` });
  const told = h("p", { class: "help", id: `${id}-help` }, help);
  const described = { "aria-describedby": `${id}-help ${id}-error` };
  for (const [name, value] of Object.entries({ id, ...described })) kind.control.setAttribute(name, value);
  const title = kind.isGroup ? h("legend", {}, label) : h("label", { for: id }, label);
  const parts = kind.isTick ? [kind.control, title] : [title, kind.control];
  const element = h(kind.isGroup ? "fieldset" : "div", { class: kind.isTick ? "field tick" : "field",
    "data-field": kind.name }, ...parts, told, error);
  return {
    ...kind,
    element,
    /** Tells what is wrong with the value; an empty text for nothing. */
    complain(problem) {
      say(error, problem);
      mark(kind.control, "aria-invalid", problem ? "true" : null);
    },
  };
}
