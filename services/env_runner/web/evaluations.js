// Page 1: all evaluations, the newest first.

import { api, passing, sleep } from "./api.js";
import { ago, asked, badge, cell, el, figure, heads, keep, points, progress } from "./dom.js";

const LOOK_EVERY = 2_000; // ms

export async function evaluations({ main, place, notify, signal }) {
  place([], "");
  let pages = 1;
  const body = el("tbody");
  const older = el("button", { type: "button", click: () => ((pages += 1), refresh()) }, "Older ones");
  const table = el(
    "table",
    { class: "cards" },
    heads("State", "Evaluation", "Agent", "Protocol", "Episodes", figure("Mean score"), "Begun"),
    body,
  );
  const list = el("div", {}, el("h1", {}, "Evaluations"), table, el("p", { class: "actions" }, older));
  const none = nothing();

  async function refresh() {
    const items = [];
    let cursor = null;
    for (let page = 0; page < pages && (page === 0 || cursor !== null); page += 1) {
      const answer = await api.evaluations(cursor, signal);
      items.push(...answer.items);
      cursor = answer.next_cursor;
    }
    older.hidden = cursor === null;
    keep(body, items, (one) => one.id, row);
    const shown = items.length ? list : none;
    if (main.firstElementChild !== shown) main.replaceChildren(shown);
  }

  for (let first = true; ; first = false) {
    try {
      if (first || document.visibilityState === "visible") await refresh();
      notify(null);
    } catch (error) {
      if (first || !passing(error)) throw error;
      notify("The env-runner does not answer; this page goes on asking.");
    }
    await sleep(LOOK_EVERY, signal);
  }
}

function row(one) {
  return el(
    "tr",
    {},
    cell("State", {}, badge(one.state)),
    cell("Evaluation", {}, el("a", { href: `#/evaluations/${encodeURIComponent(one.id)}` }, one.id)),
    cell("Agent", {}, one.agent_name),
    cell("Protocol", {}, asked(one.request)),
    cell("Episodes", {}, progress(one), one.errored ? el("span", { class: "bad" }, ` ${one.errored} errored`) : null),
    cell("Mean score", { class: "figure" }, points(one.mean_score)),
    cell("Begun", {}, ago(one.created)),
  );
}

function nothing() {
  return el(
    "div",
    { class: "empty" },
    el("h1", {}, "No evaluations yet"),
    el("p", {}, "This starts one, with an episode of a short task; it appears here as soon as it is submitted:"),
    el("pre", {}, `./run evaluate --url ${location.origin} --tasks 4-2`),
    el("p", {}, "Without ", el("code", {}, "--tasks"), " it plays one episode of each of the 30 tasks."),
  );
}
