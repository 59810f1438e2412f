// What replays have in common: turns grouped by sub-goal, where two episodes first differ, and the marks of a turn.

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

/**
 * The places, from 0, at which two episodes first differ, one in each; null where they took the same actions throughout.
 * Where only one of them has sub-goals, only actions are compared, and turns that end a sub-goal are skipped.
 */
export function firstDifference(first, second) {
  const sides = [first, second];
  const compareGoals = sides.every((turns) => turns.some((turn) => turn.subgoal !== null));
  const counted = sides.map((turns) => turns.filter((turn) => compareGoals || turn.action !== null));
  for (let place = 0; place < Math.max(counted[0].length, counted[1].length); place += 1) {
    const [left, right] = counted.map((turns) => turns[place]);
    if (left?.action !== right?.action || (compareGoals && left?.subgoal !== right?.subgoal))
      return [left, right].map((turn, side) => (turn ? sides[side].indexOf(turn) : sides[side].length));
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
