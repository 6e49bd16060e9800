// A canvas that shows pictures with what was found in them. Both come in one message, so boxes never trail behind.
//
// What was drawn last is told by attributes of the canvas, for tests and for extensions of browsers:
//   data-sequence  the number of the frame
//   data-boxes     JSON: of each box x1, y1, x2, y2 in pixels of the canvas, label, score, colour

import { colour } from "./colours.js";
import { mark } from "./dom.js";
import * as words from "./words.js";

/** Landmarks under this score are guesses. */
const LANDMARK_SCORE = 0.3;
/** Screens with more pixels than two for one are not told apart from that. */
const MAX_RATIO = 2;
/** The size of labels in pixels of the page: a part of the canvas's width, within bounds. */
const LABEL = { part: 1 / 64, least: 11, most: 15 };

/** One camera's pictures. */
export class Picture {
  #bitmap = null;
  #message = null;
  #next = null;
  #isDecoding = false;

  /** `skeleton` tells the bones of a model by its name; `filter` which detections are drawn. */
  constructor(canvas, { skeleton, filter = () => true }) {
    this.canvas = canvas;
    this.skeleton = skeleton;
    this.filter = filter;
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(canvas);
  }

  /** The message shown, of LiveService.Watch. */
  get message() {
    return this.#message;
  }

  /** Pixels that the canvas has for the longer side of a picture. */
  get side() {
    return Math.max(this.canvas.clientWidth, this.canvas.clientHeight) * ratio();
  }

  /** Shows a message, unless a newer one comes before it is decoded. */
  async show(message) {
    this.#next = message;
    if (this.#isDecoding) return;
    this.#isDecoding = true;
    while (this.#next) {
      const current = this.#next;
      this.#next = null;
      await this.#decode(current);
    }
    this.#isDecoding = false;
  }

  async #decode(message) {
    const jpeg = new Blob([message.jpeg], { type: "image/jpeg" });
    const bitmap = await createImageBitmap(jpeg).catch(() => null);
    if (!bitmap) return;
    this.#bitmap?.close();
    this.#bitmap = bitmap;
    this.#message = message;
    this.draw();
  }

  /** Draws again, after a change of the size or of the filter. */
  draw() {
    const { canvas } = this;
    if (!this.#bitmap || canvas.clientWidth === 0) return;
    const width = Math.round(canvas.clientWidth * ratio());
    const height = Math.round(canvas.clientHeight * ratio());
    // Setting it empties the canvas.
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d", { alpha: false });
    const place = fitted(this.#bitmap, canvas);
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    context.drawImage(this.#bitmap, place.x, place.y, place.width, place.height);
    this.#drawObjects(context, place);
  }

  /** Forgets the picture. */
  clear() {
    this.#bitmap?.close();
    this.#bitmap = this.#message = this.#next = null;
    this.canvas.width = this.canvas.height = 1;
    mark(this.canvas, "data-boxes", null);
    mark(this.canvas, "data-sequence", null);
  }

  /** Ends it. */
  close() {
    this.sizes.disconnect();
    this.clear();
  }

  #drawObjects(context, place) {
    const found = this.#message.detections;
    const scale = { x: place.width / found.frame_width, y: place.height / found.frame_height };
    const at = ({ x, y }) => ({ x: place.x + x * scale.x, y: place.y + y * scale.y });
    const bones = this.skeleton?.(found.model) ?? [];
    const shown = found.detections.filter(this.filter);
    const boxes = shown.map((detection) => boxOf(detection, at));
    boxes.forEach((box, index) => drawObject(context, box, shown[index].landmarks, at, bones));
    drawLabels(context, boxes);
    mark(this.canvas, "data-boxes", JSON.stringify(boxes));
    mark(this.canvas, "data-sequence", found.sequence);
  }
}

const ratio = () => Math.min(MAX_RATIO, window.devicePixelRatio || 1);

/** Where a picture stands in a canvas, as large as it can be. */
function fitted(picture, canvas) {
  const scale = Math.min(canvas.width / picture.width, canvas.height / picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  return { x: (canvas.width - width) / 2, y: (canvas.height - height) / 2, width, height };
}

function boxOf({ box, score, label, class_id }, at) {
  const [from, to] = [at({ x: box.x1, y: box.y1 }), at({ x: box.x2, y: box.y2 })];
  return { x1: from.x, y1: from.y, x2: to.x, y2: to.y, label, score, colour: colour(class_id) };
}

function drawObject(context, { x1, y1, x2, y2, colour: of }, landmarks, at, bones) {
  context.lineWidth = 2 * ratio();
  context.strokeStyle = of;
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  drawLandmarks(context, landmarks, at, bones, of);
}

/** The best scores first; a label that would cover another one is left out. */
function drawLabels(context, boxes) {
  const { part, least, most } = LABEL;
  const size = Math.max(least, Math.min(most, context.canvas.clientWidth * part)) * ratio();
  const drawn = [];
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const box of boxes) {
    const text = `${box.label} ${Math.round(box.score * 100)}`;
    const place = labelPlace(context, box, context.measureText(text).width + size * 0.7, size * 1.4);
    if (drawn.some((other) => overlap(place, other))) continue;
    drawn.push(place);
    context.fillStyle = box.colour;
    context.fillRect(place.x, place.y, place.width, place.height);
    context.fillStyle = "#10141a";
    context.fillText(text, place.x + size * 0.35, place.y + place.height / 2);
  }
}

/** Over the box, or in it where that is outside the canvas. */
function labelPlace({ canvas, lineWidth }, { x1, y1 }, width, height) {
  const x = Math.max(0, Math.min(x1 - lineWidth / 2, canvas.width - width));
  return { x, y: y1 >= height ? y1 - height : y1, width, height };
}

const overlap = (a, b) =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

function drawLandmarks(context, landmarks, at, bones, of) {
  const points = landmarks.map((one) => (one.score >= LANDMARK_SCORE ? at(one) : null));
  context.beginPath();
  for (const { from, to } of bones) {
    if (!points[from] || !points[to]) continue;
    context.moveTo(points[from].x, points[from].y);
    context.lineTo(points[to].x, points[to].y);
  }
  context.stroke();
  context.fillStyle = of;
  for (const point of points.filter(Boolean)) {
    context.beginPath();
    context.arc(point.x, point.y, 2.5 * ratio(), 0, 2 * Math.PI);
    context.fill();
  }
}

/** What a picture shows, for those who do not see it. */
export function described(name, message, filter = () => true) {
  if (!message) return `${name}: no picture yet`;
  const found = words.objects(message.detections.detections.filter(filter));
  return `Live picture of ${name}: ${found || "nothing found"}`;
}
