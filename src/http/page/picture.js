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
    // The best score last, and so on top.
    const boxes = shown.toReversed().map((detection) => drawObject(context, detection, at, bones));
    mark(this.canvas, "data-boxes", JSON.stringify(boxes.reverse()));
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

function drawObject(context, { box, score, label, class_id, landmarks }, at, bones) {
  const [from, to] = [at({ x: box.x1, y: box.y1 }), at({ x: box.x2, y: box.y2 })];
  const of = colour(class_id);
  context.lineWidth = 2 * ratio();
  context.strokeStyle = of;
  context.strokeRect(from.x, from.y, to.x - from.x, to.y - from.y);
  drawLandmarks(context, landmarks, at, bones, of);
  drawLabel(context, `${label} ${Math.round(score * 100)}`, from, of);
  return { x1: from.x, y1: from.y, x2: to.x, y2: to.y, label, score, colour: of };
}

function drawLabel(context, text, { x, y }, background) {
  const size = 11 * ratio();
  context.font = `600 ${size}px system-ui, sans-serif`;
  const width = context.measureText(text).width + size * 0.7;
  const height = size * 1.4;
  const left = Math.max(0, Math.min(x - context.lineWidth / 2, context.canvas.width - width));
  // Over the box, or in it at the upper edge.
  const top = y >= height ? y - height : y;
  context.fillStyle = background;
  context.fillRect(left, top, width, height);
  context.fillStyle = "#10141a";
  context.textBaseline = "middle";
  context.fillText(text, left + size * 0.35, top + height / 2);
}

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
