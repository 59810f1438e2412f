// One episode: how it ended, how other runs did on the same variation, and its replay.

import { api } from "./api.js";
import { el, saveFile } from "./dom.js";
import { elsewhere } from "./other_runs.js";
import { solutionButton } from "./solution_button.js";
import { Replay } from "./replay.js";
import { count, duration, minus, outcome, variationName } from "./format_values.js";
import { worldOfStatus } from "./worlds.js";

export async function episode({ main, place, signal, query }, id, name) {
  const [result, entries, options, status] = await Promise.all([
    api.episode(id, name, signal),
    api.episodes(id, signal),
    api.options(signal),
    api.evaluation(id, signal),
  ]);
  const world = await worldOfStatus(status);
  const above = `#/evaluations/${encodeURIComponent(id)}`;
  const variation = variationName(result.variation, result.repeat);
  place(
    [
      ["Evaluations", "#/"],
      [id, above],
    ],
    `${result.task}, variation ${variation}`,
  );
  const replay = result.trajectory.length ? new Replay(result, id, world, signal) : null;
  const solution = el("div", { class: "oracle" });
  const playable = options.can_play && options.world === world.name;
  const heading = el(
    "section",
    { class: "head" },
    el(
      "h1",
      {},
      `Task ${result.task}, variation ${variation} `,
      el("span", { class: "score" }, `${minus(result.raw_score)} points`),
    ),
    el("p", { class: "lead" }, world.taskName(result.task)),
    result.opening && el("p", {}, result.opening.task),
    el(
      "p",
      { class: "ending" },
      "How it ended: ",
      outcome(result),
      result.error ? " " : ". ",
      replay && turningPoints(replay),
    ),
    el("p", { class: "note" }, effort(result)),
    el(
      "p",
      { class: "actions" },
      neighbours(entries, name, above),
      playable && solutionButton(result, status.request, solution, signal),
      playable &&
        el(
          "a",
          { class: "button", href: `#/play?task=${result.task}&variation=${result.variation}` },
          "Play this variation",
        ),
      el("button", { type: "button", click: () => saveFile(asJson(result), `${name}.json`) }, "Save as JSON"),
    ),
    solution,
    elsewhere(id, name, world, signal),
  );
  if (!replay) {
    main.replaceChildren(heading, el("p", { class: "empty" }, "This episode ended before its first turn."));
    return;
  }
  main.replaceChildren(heading, ...replay.elements);
  const wanted = result.trajectory.findIndex((turn) => `${turn.turn}` === query.get("turn"));
  replay.go(Math.max(0, wanted));
  // Set only now: a reader who went back while this page was loading has another address already.
  replay.moved = (turn) => {
    history.replaceState(null, "", `${above}/episodes/${encodeURIComponent(name)}?turn=${turn}`);
  };
  document.addEventListener("keydown", (event) => replay.press(event), { signal });
}

/** Where the score last rose, and where it fell after that, with buttons that lead there. */
function turningPoints(replay) {
  const total = replay.turns.length;
  const loss = replay.turns.findIndex((turn, place) => turn.reward < 0 && place > replay.gain);
  const link = (place) => {
    const go = () => {
      replay.go(place);
      replay.show();
    };
    return el("button", { type: "button", class: "link", click: go }, `turn ${replay.turns[place].turn} of ${total}`);
  };
  return [
    replay.gain < 0 ? "No turn raised the score." : ["The score last rose in ", link(replay.gain), "."],
    loss >= 0 && [` It fell by ${-replay.turns[loss].reward} points in `, link(loss), "."],
  ];
}

const effort = (result) =>
  [
    count(result.actions, "action"),
    count(result.moves, "move"),
    count(result.turns, "turn"),
    count(result.model_calls, "model call"),
    count(result.tokens, "token"),
    `${result.repaired} repaired`,
    duration(result.seconds),
  ].join(" · ");

const asJson = (result) => new Blob([JSON.stringify(result, null, 1)], { type: "application/json" });

/** Links to the previous and the next episode that has a result. */
function neighbours(entries, name, above) {
  const finished = entries.filter((entry) => entry.result !== null);
  const here = finished.findIndex((entry) => entry.id === name);
  const link = (entry, words) =>
    entry &&
    el(
      "a",
      { class: "button", href: `${above}/episodes/${encodeURIComponent(entry.id)}` },
      `${words}: ${entry.task}/${variationName(entry.variation, entry.repeat)}`,
    );
  return [link(finished[here - 1], "Previous"), link(finished[here + 1], "Next")];
}
