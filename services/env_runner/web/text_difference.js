// What has changed between two texts, line by line.

import { el } from "./dom.js";

const LONGEST = 400; // lines; longer texts are shown without marks

/** A text as a `pre` in which new lines are marked and lost ones are struck out. */
export function changed(before, after) {
  const [old, now] = [lines(before), lines(after)];
  if (!before || old.length > LONGEST || now.length > LONGEST) return el("pre", {}, after.trim());
  const rows = align(old, now).flatMap(([kind, line], place) => [
    place ? "\n" : "",
    kind === "same" ? line : el(kind === "new" ? "ins" : "del", {}, line),
  ]);
  return el("pre", {}, rows);
}

const lines = (text) => text.trim().split("\n");

/** The longest common subsequence of lines, with what is new and what is gone between. */
function align(old, now) {
  const common = Array.from({ length: old.length + 1 }, () => new Uint16Array(now.length + 1));
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = now.length - 1; j >= 0; j -= 1) {
      common[i][j] = old[i] === now[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const rows = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      rows.push(["same", now[j]]);
      [i, j] = [i + 1, j + 1];
    } else if (i < old.length && (j === now.length || common[i + 1][j] >= common[i][j + 1])) {
      rows.push(["gone", old[i]]);
      i += 1;
    } else {
      rows.push(["new", now[j]]);
      j += 1;
    }
  }
  return rows;
}
