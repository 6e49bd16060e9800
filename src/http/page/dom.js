// Making elements. Text is always text: nothing the server says becomes markup.

const SVG = "http://www.w3.org/2000/svg";

/** Paths of the icons, drawn in a square of 16. */
const ICONS = {
  live: "M8 3a5 5 0 1 0 0 10A5 5 0 0 0 8 3z",
  connecting: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zm0 2v8a4 4 0 0 1 0-8z",
  stalled: "M4 3h3v10H4zM9 3h3v10H9z",
  backoff: "M13 3v4H9l1.5-1.5A4 4 0 1 0 12 8.5h1.7A5.7 5.7 0 1 1 11.7 4.3z",
  failed: "M8 1.5 15 14H1zM7.2 6v4h1.6V6zm0 5v1.6h1.6V11z",
  off: "M7.2 2h1.6v6H7.2zM5 4.3l.9 1.4a4 4 0 1 0 4.2 0l.9-1.4a5.6 5.6 0 1 1-6 0z",
  ended: "M3.5 3.5h9v9h-9z",
  add: "M7 3h2v4h4v2H9v4H7V9H3V7h4z",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM7.3.8h1.4v2.4H7.3zm0 12h1.4v2.4H7.3zM.8 7.3h2.4v1.4H.8zm12 0h2.4v1.4h-2.4zM2.4 3.4l1-1L5 4.1l-1 1zm8.6 8.5 1-1 1.6 1.7-1 1zM3.4 13.6l-1-1L4.1 11l1 1zM11.9 5l-1-1 1.7-1.6 1 1z",
  moon: "M6.5 1.6a6.5 6.5 0 1 0 7.9 7.9 5.2 5.2 0 0 1-7.9-7.9z",
  key: "M10.5 2a3.5 3.5 0 0 0-3.3 4.6L2 11.8V14h2.6v-1.6h1.6v-1.6h1.6l.9-.9A3.5 3.5 0 1 0 10.5 2zm.9 1.7a.9.9 0 1 1 0 1.8.9.9 0 0 1 0-1.8z",
  close: "m4.1 3 3.9 3.9L11.9 3 13 4.1 9.1 8l3.9 3.9-1.1 1.1L8 9.1 4.1 13 3 11.9 6.9 8 3 4.1z",
  back: "M9.5 2.5 11 4 7 8l4 4-1.5 1.5L4 8z",
  edit: "m11.2 1.8 3 3L5 14H2v-3zm-1 3.2-6.6 6.6v.8h.8L11 5.8z",
  camera: "M2 4h3l1-1.5h4L11 4h3v9H2zm6 1.8a2.7 2.7 0 1 0 0 5.4 2.7 2.7 0 0 0 0-5.4z",
  remove: "M6 1.5h4V3h3.5v1.5h-11V3H6zM3.5 6h9l-.7 8.5H4.2z",
  lock: "M8 1.5A3.5 3.5 0 0 0 4.5 5v1.5h-1v8h9v-8h-1V5A3.5 3.5 0 0 0 8 1.5zM6 5a2 2 0 1 1 4 0v1.5H6z",
};

/** An element with attributes, properties that begin with "on", and children. Children that are null are left out. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  set(element, attributes);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An element of an SVG picture. */
export function s(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  set(element, attributes);
  element.append(...children);
  return element;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
}

/** A sign beside a text, which says the same: screen readers leave it out. */
export function icon(name) {
  return s("svg", { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true" },
    s("path", { d: ICONS[name], "fill-rule": "evenodd" }));
}

/** A button with a sign and a text. */
export function button(text, { sign, ...attributes }) {
  return h("button", { type: "button", ...attributes }, sign ? icon(sign) : null, h("span", {}, text));
}

/** Changes a text, if it is another one. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Changes an attribute, or takes it away for null, if it is another one. */
export function mark(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Tells screen readers, without taking the focus. Of several texts in a row, the last stays. */
export function announce(text) {
  const region = document.getElementById("announcer");
  region.textContent = "";
  region.textContent = text;
}
