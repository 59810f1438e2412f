// Two replays of one variation side by side; the first turn in which they differ is marked.

import { api } from "./api.js";
import { scoreLine } from "./chart.js";
import { el } from "./dom.js";
import { bySubgoal, firstDifference } from "./turns.js";
import { gainBadge, minus, outcome, variationName } from "./format_values.js";
import { worldOfStatus } from "./worlds.js";

export async function sideBySide({ main, place, signal, query }) {
  const runs = [query.get("a"), query.get("b")];
  const names = [query.get("a-episode"), query.get("b-episode")];
  if ([...runs, ...names].includes(null)) {
    place([["Evaluations", "#/"]], "Side by side");
    main.replaceChildren(el("div", { class: "empty" }, el("p", {}, "This address does not name two episodes.")));
    return;
  }
  const [results, statuses] = await Promise.all([
    Promise.all(runs.map((run, side) => api.episode(run, names[side], signal))),
    Promise.all(runs.map((run) => api.evaluation(run, signal))),
  ]);
  const world = await worldOfStatus(statuses[0]);
  const [first, second] = results.map((result) => result.trajectory);
  const places = firstDifference(first, second);
  const compareAddress = `#/compare?${runs.map((run) => `run=${encodeURIComponent(run)}`).join("&")}`;
  const title = `${results[0].task}, variation ${results[0].variation}`;
  place(
    [
      ["Evaluations", "#/"],
      ["Compare", compareAddress],
    ],
    title,
  );
  main.replaceChildren(
    el("h1", {}, `Task ${title}, side by side`),
    results[0].opening ? el("p", {}, results[0].opening.task) : "",
    el("p", { class: "lead", id: "parting", role: "status" }, describeDifference(places, first, second)),
    el(
      "div",
      { class: "sides" },
      results.map((result, side) =>
        column(result, runs[side], names[side], places?.[side] ?? null, statuses[side].agent_name, world),
      ),
    ),
  );
  main.querySelectorAll(".parting").forEach((row) => {
    const list = row.closest(".turns");
    list.scrollTop = row.offsetTop - list.offsetTop - list.clientHeight / 3;
  });
}

function describeDifference(places, first, second) {
  if (places === null) return "Both took the same actions throughout.";
  const [left, right] = [describeTurn(first, places[0]), describeTurn(second, places[1])];
  return `They first differ here. Left: ${left}. Right: ${right}.`;
}

function describeTurn(turns, place) {
  const turn = turns[place];
  if (turn === undefined) return "the episode had ended";
  const action = turn.action === null ? "the sub-goal ended" : `“${turn.action}”`;
  return `turn ${turn.turn}, ${turn.subgoal === null ? action : `${action} for ${turn.subgoal}`}`;
}

/** One episode; `different` is the place of the turn in which it first differs from the other, null for none. */
function column(result, run, name, different, agent, world) {
  const address = `#/evaluations/${encodeURIComponent(run)}/episodes/${encodeURIComponent(name)}`;
  const turns = result.trajectory;
  const open = (place) => (location.hash = `${address}?turn=${place + 1}`);
  const { chart, mark } = scoreLine(turns, bySubgoal(turns), world.solved_score, open);
  if (different !== null && different < turns.length) mark(different);
  let subgoal;
  return el(
    "section",
    { "aria-label": run },
    el("h2", {}, el("a", { href: address }, agent), ` ${minus(result.raw_score)} points`),
    el("p", { class: "note" }, outcome(result), ` · ${run}`, result.repeat > 0 && `, repeat ${result.repeat}`),
    turns.length > 0 && chart,
    el(
      "ol",
      { class: "turns", tabindex: "0", "aria-label": "Turns" },
      turns.map((turn, place) => {
        const given = turn.subgoal !== subgoal;
        subgoal = turn.subgoal;
        return el(
          "li",
          { class: place === different ? "parting" : place < (different ?? Infinity) ? "shared" : null },
          given && turn.subgoal !== null && el("h3", {}, turn.subgoal),
          el(
            "a",
            { class: "step", href: `${address}?turn=${turn.turn}` },
            el("span", { class: "number" }, turn.turn),
            el("span", { class: turn.action === null ? "end" : "action" }, turn.action ?? "sub-goal ended"),
            place === different && el("span", { class: "badge unknown" }, "differs here"),
            gainBadge(turn.reward),
          ),
        );
      }),
    ),
  );
}
