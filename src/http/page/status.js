// How a camera is: a badge with a sign and a word, and over its picture what is wrong, why, and when it is tried again.

import { h, icon, mark, say } from "./dom.js";
import * as words from "./words.js";

/** A badge; the sign and the word say the same as the colour. */
export function stateBadge() {
  const sign = h("span", { class: "sign" });
  const text = h("span");
  const element = h("p", { class: "badge" }, sign, text);
  return {
    element,
    update(status) {
      const { key, text: word } = words.state(status);
      if (element.dataset.state !== key) sign.replaceChildren(icon(key));
      mark(element, "data-state", key);
      say(text, word);
    },
  };
}

/** What is told in place of a picture. */
export function trouble() {
  const sign = h("span", { class: "sign" });
  const title = h("strong");
  const reason = h("span", { class: "reason" });
  const retry = h("span", { class: "retry" });
  const element = h("div", { class: "trouble", hidden: true }, sign, title, reason, retry);
  return {
    element,
    update({ status }, hasPicture) {
      const { key, text } = words.state(status);
      element.hidden = key === "live" && hasPicture;
      if (element.hidden) return;
      if (element.dataset.state !== key) sign.replaceChildren(icon(key));
      mark(element, "data-state", key);
      say(title, key === "live" ? "Waiting for a picture" : words.failure(status.failure) || text);
      say(reason, key === "live" ? "" : status.reason);
      say(retry, nextTry(status));
    },
  };
}

/** When the next attempt is made, if one is waited for. */
export function nextTry({ state, retry_at }) {
  const waits = state === "CAMERA_STATE_BACKOFF" || state === "CAMERA_STATE_FAILED";
  const left = waits && retry_at ? words.milliseconds(retry_at) - Date.now() : undefined;
  if (left === undefined) return "";
  return left > 500 ? `Next try in ${words.span(left)}` : "Trying again now";
}
