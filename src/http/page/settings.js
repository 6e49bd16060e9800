// The settings of a camera and what became of it, to read.

import { h } from "./dom.js";
import * as words from "./words.js";

/** Fills a list with what is known of a camera, if it is anything new. */
export function settingsList(list, info, fleet) {
  const rows = rowsOf(info, fleet);
  const text = JSON.stringify(rows);
  if (list.dataset.text === text) return;
  list.dataset.text = text;
  list.replaceChildren(...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function rowsOf({ camera, origin, status, accounts, reconnects }, fleet) {
  const { min_score, max_fps, max_age, classes, priority, transport, loop } = camera;
  const [ms, isFile] = [words.milliseconds(max_age), origin === "CAMERA_ORIGIN_CONFIG"];
  const dropped = [...accounts.dropped].filter(([, frames]) => frames > 0);
  return [
    ["Id", camera.id],
    ["Address", camera.url],
    ["Frames", status.frame_width > 0 ? `${status.frame_width} × ${status.frame_height}` : "unknown yet"],
    ["Model", fleet.modelOf(camera) ?? "the server's default"],
    ["Classes", classes.length > 0 ? classes.join(", ") : "all"],
    ["Least score", min_score === undefined ? "the server's" : String(Number(min_score.toPrecision(4)))],
    ["Frames a second", max_fps === undefined ? "all" : `${max_fps} at most`],
    ["Greatest age", ms === undefined ? "the server's" : words.age(ms)],
    ["Priority", String(priority ?? 1)],
    ["RTP transport", transport === "TRANSPORT_UDP" ? "UDP" : "TCP"],
    ["Loop", loop ? "yes" : "no"],
    ["Defined", isFile ? "in the server's settings file" : "here, by the API"],
    ["Received", `${words.count(accounts.received)} frames`],
    ["Published", `${words.count(accounts.published)} frames`],
    ["Dropped", dropped.map(([reason, frames]) => `${words.count(frames)} ${words.drop(reason)}`).join(", ") || "none"],
    ["Connected anew", `${words.count(reconnects)} times`],
  ];
}
