// All cameras side by side.

import { Card } from "./card.js";
import { button, h, say } from "./dom.js";
import * as words from "./words.js";

/** Sizes that the server makes pictures of. */
const SIDES = [320, 640, 1280, 1920];
/** A picture may be stretched so much, before the next size is asked for. */
const STRETCH = 1.25;
/** Many pictures at a time come less often: to look at a wall, few a second do. */
const RATES = [[9, 10], [16, 5], [Infinity, 2]];
/** Pixels: the narrowest card, what stands under its picture, the gap to the next. */
const NARROWEST = 280;
const CAPTION = 104;
const GAP = 14;
/** With fewer cameras nobody looks for one. */
const MANY = 9;

/** The size of picture for so many pixels. */
export function sideFor(pixels) {
  return SIDES.find((side) => side * STRETCH >= pixels) ?? SIDES.at(-1);
}

/** The wall, for as long as it is shown. */
export class Wall {
  #fleet;
  #viewer;
  #cards = new Map();
  #seen = new Set();
  #onChange = () => this.#update();

  /** `onAdd` is called by the invitation to add a first camera. */
  constructor(fleet, viewer, { onAdd }) {
    this.#fleet = fleet;
    this.#viewer = viewer;
    this.search = h("input", {
      type: "search",
      placeholder: "Filter cameras",
      "aria-label": "Filter cameras by name, id or state",
      oninput: () => this.#filter(),
    });
    this.none = h("p", { class: "none", role: "status" });
    this.list = h("ul", { class: "wall", "aria-label": "Cameras" });
    this.first = h(
      "div",
      { class: "empty", hidden: true },
      h("h2", {}, "No cameras yet"),
      h("p", {}, "Add the address of a camera, and its picture is here in a few seconds."),
      button("Add camera", { sign: "add", class: "primary", onclick: onAdd }),
    );
    this.element = h("section", { "aria-label": "Cameras" }, this.search, this.none, this.list, this.first);
    this.inView = new IntersectionObserver((entries) => this.#scrolled(entries), { rootMargin: "120px" });
    viewer.onPicture = (message) => this.#cards.get(message.detections.camera_id)?.show(message);
    this.sizes = new ResizeObserver(() => this.#arrange());
    this.sizes.observe(this.element);
    fleet.addEventListener("change", this.#onChange);
    this.element.addEventListener("keydown", (event) => this.#move(event));
    this.#update();
  }

  /** Ends it. */
  close() {
    this.#fleet.removeEventListener("change", this.#onChange);
    this.inView.disconnect();
    this.sizes.disconnect();
    for (const card of this.#cards.values()) card.close();
    this.#viewer.watch([]);
  }

  /** Takes the focus to a camera, or to the first. */
  focus(id) {
    const card = this.#cards.get(id) ?? this.#shown()[0];
    card?.element.scrollIntoView({ block: "nearest" });
    card?.title.focus();
  }

  #update() {
    const { cameras } = this.#fleet;
    if (!cameras) return;
    for (const [id, card] of this.#cards) if (!cameras.has(id)) this.#drop(id, card);
    for (const id of cameras.keys()) if (!this.#cards.has(id)) this.#put(id);
    for (const card of this.#cards.values()) card.update();
    this.first.hidden = cameras.size > 0;
    this.search.hidden = cameras.size < MANY;
    this.aspect = usualAspect([...cameras.values()]);
    this.list.style.setProperty("--aspect", this.aspect.toFixed(3));
    this.#filter();
  }

  #put(id) {
    const card = new Card(id, this.#fleet);
    this.#cards.set(id, card);
    const after = [...this.#cards.keys()].sort().indexOf(id);
    this.list.insertBefore(card.element, this.list.children[after] ?? null);
    this.inView.observe(card.element);
  }

  #drop(id, card) {
    this.inView.unobserve(card.element);
    this.#cards.delete(id);
    this.#seen.delete(id);
    card.close();
  }

  #filter() {
    const wanted = this.search.value.trim().toLowerCase();
    for (const [id, card] of this.#cards) {
      const { camera, status } = this.#fleet.cameras.get(id);
      const text = `${id} ${words.name(camera)} ${words.state(status).text}`.toLowerCase();
      card.element.hidden = !text.includes(wanted);
    }
    say(this.none, wanted && this.#shown().length === 0 ? "No camera fits the filter." : "");
    this.#arrange();
    this.#watch();
  }

  #arrange() {
    const width = this.element.clientWidth;
    const height = innerHeight - this.list.getBoundingClientRect().top - scrollY - GAP;
    const columns = columnsFor(this.#shown().length, width, height, this.aspect ?? 16 / 9);
    this.list.style.setProperty("--columns", columns);
  }

  #scrolled(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.#seen.add(target.dataset.camera);
      else this.#seen.delete(target.dataset.camera);
    }
    this.#watch();
  }

  /** Asks for the pictures of those that can be seen and are connected. */
  #watch() {
    const cards = this.#shown().filter(({ id, element }) => this.#seen.has(id) && isOn(element.dataset.state));
    const [, max_fps] = RATES.find(([most]) => cards.length <= most);
    this.#viewer.watch(cards.map(({ id, picture }) => ({ camera_id: id, max_side: sideFor(picture.side), max_fps })));
  }

  #shown() {
    const order = [...this.list.children].filter((element) => !element.hidden);
    return order.map((element) => this.#cards.get(element.dataset.camera));
  }

  /** Arrow keys go from camera to camera, as the eye does. */
  #move(event) {
    const cards = this.#shown();
    const at = cards.findIndex((card) => card.title === document.activeElement);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const top = cards[0].element.offsetTop;
    const columns = cards.filter((card) => card.element.offsetTop === top).length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const to = event.key === "Home" ? 0 : event.key === "End" ? cards.length - 1 : at + steps[event.key];
    if (!cards[to]) return;
    event.preventDefault();
    cards[to].title.focus();
  }
}

/** The fewest columns, and so the largest pictures, with which all cards can be seen; or as many as there is room for. */
export function columnsFor(cards, width, height, aspect) {
  const most = Math.max(1, Math.floor((width + GAP) / (NARROWEST + GAP)));
  for (let columns = 1; columns < most; columns += 1) {
    const card = (width - GAP * (columns - 1)) / columns / aspect + CAPTION;
    if (Math.ceil(cards / columns) * (card + GAP) - GAP <= height) return columns;
  }
  return most;
}

const isOn = (state) => state !== "off" && state !== "ended";

/** The shape that most pictures have, so that few of them have black beside them. */
function usualAspect(cameras) {
  const sizes = cameras.map(({ status }) => status).filter((status) => status?.frame_height > 0);
  const aspects = sizes.map(({ frame_width, frame_height }) => frame_width / frame_height).sort((a, b) => a - b);
  return aspects[(aspects.length - 1) >> 1] ?? 16 / 9;
}
