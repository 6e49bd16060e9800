// What the server says, in words for people.

/** Of each state: the icon, which is its key in styles as well, and a word. */
const STATES = {
  CAMERA_STATE_CONNECTING: ["connecting", "Connecting"],
  CAMERA_STATE_LIVE: ["live", "Live"],
  CAMERA_STATE_STALLED: ["stalled", "Stalled"],
  CAMERA_STATE_BACKOFF: ["backoff", "Retrying"],
  CAMERA_STATE_FAILED: ["failed", "Failed"],
  CAMERA_STATE_DISABLED: ["off", "Off"],
  CAMERA_STATE_ENDED: ["ended", "Ended"],
};

const FAILURES = {
  CAMERA_FAILURE_AUTH: "Wrong user or password",
  CAMERA_FAILURE_NOT_FOUND: "Nothing at this address",
  CAMERA_FAILURE_CODEC: "Cannot be decoded",
  CAMERA_FAILURE_NO_VIDEO: "No video in it",
  CAMERA_FAILURE_NETWORK: "Cannot be reached",
  CAMERA_FAILURE_STALLED: "Frames stopped coming",
  CAMERA_FAILURE_ENDED: "The stream ended",
  CAMERA_FAILURE_OTHER: "It failed",
  CAMERA_FAILURE_FORBIDDEN: "Not allowed by the server's settings",
};

const DROPS = {
  superseded: "newer first",
  too_old: "too old",
  rate_limited: "over max fps",
  engine_error: "engine failed",
  engine_panic: "engine crashed",
  engine_hung: "engine hung",
  no_model: "no model",
  camera_removed: "camera removed",
  shutdown: "shutdown",
  lost: "lost",
};
/** Frames that nobody wanted to be looked at. */
const MEANT = ["rate_limited", "camera_removed", "shutdown"];

/** The states in the order of the header: `{ key, text }`. */
export const states = Object.values(STATES).map(([key, text]) => ({ key, text }));

/** `{ key, text }` of a camera's state. */
export function state(status) {
  const [key, text] = STATES[status?.state] ?? ["off", "Unknown"];
  return { key, text };
}

/** The kind of a failure, or an empty text. */
export const failure = (kind) => FAILURES[kind] ?? "";

/** A reason for drops. */
export const drop = (reason) => DROPS[reason] ?? reason;

/** Whether frames dropped for this reason are missed. */
export const isMissed = (reason) => !MEANT.includes(reason);

/** What a camera is called. */
export const name = (camera) => camera.name || camera.id;

/** Milliseconds of a google.protobuf.Duration or Timestamp; undefined for none. */
export const milliseconds = (time) => (time ? Number(time.seconds) * 1000 + time.nanos / 1e6 : undefined);

/** A google.protobuf.Duration or Timestamp of milliseconds. */
export function protoTime(ms) {
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

/** A number of frames a second. */
export const fps = (value) => (value === undefined ? "–" : value < 9.95 ? value.toFixed(1) : value.toFixed(0));

/** A share, 0 to 1. */
export function percent(share) {
  const value = share * 100;
  if (value === 0) return "0 %";
  return value < 0.1 ? "< 0.1 %" : `${value < 9.95 ? value.toFixed(1) : value.toFixed(0)} %`;
}

/** A short time, such as an age. */
export function age(ms) {
  if (ms === undefined) return "–";
  return ms < 995 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** A longer time, such as since when. */
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

/** A time of day. */
export const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });

/** A large number, with gaps. */
export const count = (value) => Number(value).toLocaleString("en").replaceAll(",", "\u202f");

/** "5 person, 1 car", the most first. */
export function objects(detections) {
  const counts = new Map();
  for (const { label } of detections) counts.set(label, (counts.get(label) ?? 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
  return sorted.map(([label, number]) => `${number} ${label}`).join(", ");
}
