// Drawings: a score on its scale, and a score over an episode. The same figures stand beside them as text.

import { el, svg } from "./dom.js";
import { minus } from "./format_values.js";

const MARGIN = 5; // points above and below the line of scores, so that its whole stroke is visible

/** A score as a bar from 0 to `solved` points, with its interval as a whisker if there is one. */
export function scoreBar(mean, interval, solved) {
  const whisker = interval && [
    svg("line", { x1: interval[0], x2: interval[1], y1: 5, y2: 5, class: "whisker" }),
    ...interval.map((end) => svg("line", { x1: end, x2: end, y1: 0, y2: 10, class: "whisker" })),
  ];
  return svg(
    "svg",
    { viewBox: `0 0 ${solved} 10`, preserveAspectRatio: "none", class: "span", "aria-hidden": "true" },
    svg("rect", { width: solved, height: 10, class: "scale" }),
    svg("rect", { width: Math.max(0, mean), height: 10, class: "bar" }),
    whisker ?? [],
  );
}

/**
 * The score after each turn as a line of steps, above bands that show which turns belong to one sub-goal.
 * The axis beside it reaches from the lowest score of the episode (0 or less) to `solved` points.
 * `choose` is called with the place, from 0, of a turn that is clicked on; `mark(place)` shows the current turn.
 */
export function scoreLine(turns, groups, solved, choose) {
  const low = Math.min(0, ...turns.map((turn) => turn.score));
  const [top, height] = [-MARGIN, solved - low + 2 * MARGIN];
  const y = (score) => solved - score;
  const steps = turns.map((turn, place) => `V ${y(turn.score)} H ${place + 1}`).join(" ");
  const marker = svg("rect", { y: top, width: 1, height, class: "marker" });
  const click = (event) => {
    const { left, width } = drawing.getBoundingClientRect();
    choose(Math.min(turns.length - 1, Math.floor(((event.clientX - left) / width) * turns.length)));
  };
  const drawing = svg(
    "svg",
    {
      viewBox: `0 ${top} ${turns.length} ${height}`,
      preserveAspectRatio: "none",
      class: "line",
      role: "img",
      "aria-label": "Score after each turn",
      click,
    },
    groups.map((group, number) =>
      svg(
        "rect",
        { x: group.first, y: top, width: group.turns.length, height, class: number % 2 ? "band odd" : "band" },
        svg("title", {}, group.subgoal ?? "no sub-goal"),
      ),
    ),
    svg("line", { x1: 0, x2: turns.length, y1: y(0), y2: y(0), class: "zero" }),
    marker,
    svg("path", { d: `M 0 ${y(0)} ${steps}`, class: "score" }),
    turns.map(
      (turn, place) =>
        turn.repaired &&
        svg("line", { x1: place + 0.5, x2: place + 0.5, y1: top + height - 8, y2: top + height, class: "repaired" }),
    ),
  );
  const axis = el("span", { class: "axis" }, el("span", {}, solved), el("span", {}, minus(low)));
  return { chart: el("div", { class: "chart" }, axis, drawing), mark: (place) => marker.setAttribute("x", place) };
}
