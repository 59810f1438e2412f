// Numbers, times and states in words, the same way on every page.

import { el, setText } from "./dom.js";

export const points = (value) => (value === null || value === undefined ? "–" : minus(value.toFixed(1)));
export const percent = (share) => `${Math.round(100 * share)}%`;
export const minus = (number) => `${number}`.replace("-", "−");
export const signed = (number) => (number > 0 ? `+${number}` : minus(number));
export const signedPoints = (value) => `${value > 0 ? "+" : ""}${points(value)}`;
export const range = ([low, high]) => `${points(low)} to ${points(high)}`;
export const signedRange = ([low, high]) => `${signedPoints(low)} to ${signedPoints(high)}`;
export function probability(logprob) {
  const share = 100 * Math.exp(logprob);
  return share > 0 && share < 0.05 ? "< 0.1%" : `${points(share)}%`;
}
export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

export function duration(seconds) {
  if (seconds < 0.95) return `${Math.round(1000 * seconds)} ms`;
  if (seconds < 99.5) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** How long ago; `updateAges()` keeps all of them on the page up to date. */
export function ago(created) {
  const time = el("time", { datetime: created, title: new Date(created).toLocaleString() });
  time.textContent = age(created);
  return time;
}

export function updateAges() {
  for (const time of document.querySelectorAll("time")) setText(time, age(time.dateTime));
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
function age(created) {
  const passed = (Date.now() - new Date(created)) / 1000;
  if (passed < 60) return relative.format(-Math.max(0, Math.floor(passed / 5) * 5), "second");
  if (passed < 3600) return relative.format(-Math.floor(passed / 60), "minute");
  if (passed < 86_400) return relative.format(-Math.floor(passed / 3600), "hour");
  return relative.format(-Math.floor(passed / 86_400), "day");
}

/** A state in its colour. */
export const badge = (state) => el("span", { class: `badge ${state}` }, state);

/** How many episodes of an evaluation have a result. */
export function progress(status) {
  const bar = el("progress", { max: status.episodes, value: status.finished, "aria-label": "Episodes with a result" });
  return el("span", { class: "progress" }, bar, el("span", {}, `${status.finished} / ${status.episodes}`));
}

/** A variation, and which repeat of it unless it is the first. */
export const variationName = (variation, repeat) => (repeat ? `${variation}, repeat ${repeat}` : `${variation}`);

/** What an evaluation plays, in a few words. */
export function requestSummary(request) {
  const tasks = request.tasks?.length > 3 ? count(request.tasks.length, "task") : request.tasks?.join(", ");
  return [
    request.protocol,
    tasks,
    request.variations && "chosen variations",
    request.repeats > 1 && `${request.repeats} repeats`,
    request.limits && "custom limits",
  ]
    .filter(Boolean)
    .join(", ");
}

/** Whether an evaluation is a saved session of play along. */
export const isByHand = (id) => id.includes("-play-");

const ENDS = {
  completed: "the task ended",
  failed: "failed, the score went negative",
  moves: "out of moves",
  turns: "out of turns",
  patience: "gave up without progress",
  cancelled: "cancelled",
};

/** How an episode ended. */
export function outcome(result) {
  if (result.error) return [el("span", { class: "badge errored" }, result.error.kind), " ", result.error.message];
  return result.success ? [el("span", { class: "badge solved" }, "solved")] : [ENDS[result.stopped]];
}

/** Points that a turn gained or lost, as a badge; nothing for none. */
export const gainBadge = (reward) =>
  reward !== 0 && el("span", { class: reward > 0 ? "badge gain" : "badge loss" }, signed(reward));
