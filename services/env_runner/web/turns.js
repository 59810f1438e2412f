// What replays have in common: turns grouped by sub-goal, where two episodes part, and the marks of a turn.

import { el } from "./dom.js";

/** Consecutive turns under one sub-goal. A group ends when the executor ends the sub-goal or another one is given. */
export function bySubgoal(turns) {
  const groups = [];
  turns.forEach((turn, place) => {
    const last = groups.at(-1);
    if (last === undefined || last.ended || last.subgoal !== turn.subgoal) {
      groups.push({ subgoal: turn.subgoal, first: place, turns: [], ended: false });
    }
    const group = groups.at(-1);
    group.turns.push(turn);
    group.ended = turn.action === null;
  });
  return groups;
}

/** The place, from 0, of the first turn in which two episodes differ; null for none. */
export function firstDifference(first, second) {
  for (let place = 0; place < Math.max(first.length, second.length); place += 1) {
    if (first[place]?.action !== second[place]?.action || first[place]?.subgoal !== second[place]?.subgoal)
      return place;
  }
  return null;
}

/** Badges for what is special about a turn. */
export function marks(turn) {
  return [
    turn.repaired && el("span", { class: "badge repaired" }, "repaired"),
    !turn.known && el("span", { class: "badge unknown", title: "The environment did not know this action" }, "unknown"),
    turn.rules?.length > 0 && el("span", { class: "badge repaired", title: turn.rules.join(", ") }, "rule"),
    turn.ambiguous && el("span", { class: "badge unknown" }, "ambiguous"),
  ];
}
