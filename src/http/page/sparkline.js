// The last ten minutes as small lines, scaled to their own greatest value.

import { h, mark, s, say } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 48;
/** Points of ten minutes. */
const POINTS = 120;

/** A figure with lines. `lines` have a key, which is their class as well, and a text; `unit` writes a value. */
export function sparkline(title, lines, unit) {
  const paths = lines.map(({ key }) => s("path", { class: `line ${key}`, "vector-effect": "non-scaling-stroke" }));
  const top = h("span", { class: "top" });
  const picture = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, ...paths);
  const legend = lines.map(({ key, text }) => {
    const value = h("b");
    return { key, text, value, element: h("span", { class: `key ${key}` }, `${text} `, value) };
  });
  mark(picture, "aria-label", `${title}: nothing yet`);
  const caption = h("figcaption", {}, h("span", { class: "of" }, title), ...legend.map(({ element }) => element));
  return {
    element: h("figure", { class: "sparkline" }, caption, h("div", { class: "plot" }, picture, top)),
    /** `points` are objects with a value, or none, of each line. */
    update(points) {
      const shown = points.slice(-POINTS);
      const most = Math.max(0, ...shown.flatMap((point) => lines.map(({ key }) => point[key] ?? 0)));
      lines.forEach(({ key }, index) => mark(paths[index], "d", path(shown.map((point) => point[key]), most)));
      say(top, most > 0 ? unit(most) : "");
      const last = shown.at(-1) ?? {};
      for (const { key, value } of legend) say(value, last[key] === undefined ? "–" : unit(last[key]));
      const told = legend.map(({ key, text }) => `${text} ${last[key] === undefined ? "none" : unit(last[key])}`);
      mark(picture, "aria-label", `${title}, last ten minutes: now ${told.join(", ")}; at most ${unit(most)}`);
    },
  };
}

/** A line through values of which some may be missing, the newest at the right edge. */
function path(values, most) {
  const step = WIDTH / (POINTS - 1);
  const left = WIDTH - step * (values.length - 1);
  let isDown = false;
  return values
    .map((value, index) => {
      const move = isDown ? "L" : "M";
      isDown = value !== undefined;
      const y = HEIGHT - 1 - ((value ?? 0) / (most || 1)) * (HEIGHT - 2);
      return isDown ? `${move}${(left + index * step).toFixed(1)} ${y.toFixed(1)}` : "";
    })
    .join("");
}
