// Two replays of one variation side by side, with the first turn in which they part.

import { api } from "./api.js";
import { scoreLine } from "./chart.js";
import { el, minus, played, signed } from "./dom.js";
import { bySubgoal } from "./episode.js";

export async function sideBySide({ main, place, signal, query }) {
  const runs = [query.get("a"), query.get("b")];
  const names = [query.get("a-episode"), query.get("b-episode")];
  const [results, statuses] = await Promise.all([
    Promise.all(runs.map((run, side) => api.episode(run, names[side], signal))),
    Promise.all(runs.map((run) => api.evaluation(run, signal))),
  ]);
  const [first, second] = results.map((one) => one.trajectory);
  const parting = parted(first, second);
  const compareAddress = `#/compare?${runs.map((run) => `run=${encodeURIComponent(run)}`).join("&")}`;
  place(
    [
      ["Evaluations", "#/"],
      ["Compare", compareAddress],
    ],
    `${results[0].task}, variation ${played(results[0].variation, results[0].repeat)}`,
  );
  main.replaceChildren(
    el("h1", {}, `Task ${results[0].task}, variation ${played(results[0].variation, results[0].repeat)}, side by side`),
    results[0].opening && el("p", {}, results[0].opening.task),
    el(
      "p",
      { class: "what", id: "parting", role: "status" },
      parting === null
        ? "Both took the same actions throughout."
        : `They part at turn ${parting + 1}: ${told(first[parting])}, and ${told(second[parting])}.`,
    ),
    el(
      "div",
      { class: "sides" },
      results.map((result, side) => column(result, runs[side], names[side], parting, statuses[side].agent_name)),
    ),
  );
  main.querySelectorAll(".parting").forEach((row) => {
    const list = row.closest(".turns");
    list.scrollTop = row.offsetTop - list.offsetTop - list.clientHeight / 3;
  });
}

const told = (turn) =>
  turn === undefined ? "the other had ended" : turn.action === null ? "the sub-goal ended" : `“${turn.action}”`;

/** The place of the first turn in which two episodes differ; null for none. */
export function parted(first, second) {
  for (let place = 0; place < Math.max(first.length, second.length); place += 1) {
    if (first[place]?.action !== second[place]?.action || first[place]?.subgoal !== second[place]?.subgoal)
      return place;
  }
  return null;
}

function column(result, run, name, parting, agent) {
  const address = `#/evaluations/${encodeURIComponent(run)}/episodes/${encodeURIComponent(name)}`;
  const turns = result.trajectory;
  const { drawing, mark } = scoreLine(
    turns,
    bySubgoal(turns),
    (place) => (location.hash = `${address}?turn=${place + 1}`),
  );
  if (parting !== null && parting < turns.length) mark(parting);
  let subgoal;
  return el(
    "section",
    { "aria-label": run },
    el(
      "h2",
      {},
      el("a", { href: address }, agent),
      ` ${minus(result.raw_score)} points `,
      el("span", { class: "note" }, run),
    ),
    turns.length > 0 &&
      el("div", { class: "chart" }, el("span", { class: "axis" }, el("span", {}, "100"), el("span", {}, "0")), drawing),
    el(
      "ol",
      { class: "turns", tabindex: "0", "aria-label": "Turns" },
      turns.map((turn, place) => {
        const given = turn.subgoal !== subgoal;
        subgoal = turn.subgoal;
        return el(
          "li",
          { class: place === parting ? "parting" : place < (parting ?? Infinity) ? "shared" : null },
          given && turn.subgoal !== null && el("h3", {}, turn.subgoal),
          el(
            "a",
            { class: "step", href: `${address}?turn=${turn.turn}` },
            el("span", { class: "number" }, turn.turn),
            el("span", { class: turn.action === null ? "end" : "action" }, turn.action ?? "sub-goal ended"),
            place === parting && el("span", { class: "badge unknown" }, "parts here"),
            turn.reward !== 0 &&
              el("span", { class: turn.reward > 0 ? "badge gain" : "badge loss" }, signed(turn.reward)),
          ),
        );
      }),
    ),
  );
}
