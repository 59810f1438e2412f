// The scores of an evaluation beside the published ones.

import { span } from "./chart.js";
import { count, el, figure, heads, percent, points, seconds } from "./dom.js";

export function scores({ evaluation, summary, published, methods, notes }) {
  if (summary.tasks.length === 0)
    return [el("p", { class: "empty" }, "No result yet. Scores appear with the first one.")];
  return [
    headline(summary),
    el("h2", {}, "By task type"),
    el(
      "div",
      { class: "wide", tabindex: "0", role: "region", "aria-label": "Scores by task type" },
      byTask(summary, published, evaluation),
    ),
    el("h2", {}, "Beside published agents"),
    el(
      "div",
      { class: "wide", tabindex: "0", role: "region", "aria-label": "Published agents" },
      byMethod(summary, methods),
    ),
    el("p", { class: "note" }, [...summary.randomness, ...notes].join(" ")),
  ];
}

/** How episodes failed, each way with an example. */
export function failed(modes, id) {
  if (!modes.length) return [];
  const address = (mode) => `#/evaluations/${encodeURIComponent(id)}/episodes/${encodeURIComponent(mode.example)}`;
  return [
    el("h2", {}, "How episodes failed"),
    el(
      "table",
      { id: "failures" },
      heads("How", figure("Episodes"), "Tasks", "Example"),
      el(
        "tbody",
        {},
        modes.map((mode) =>
          el(
            "tr",
            {},
            el("td", {}, mode.name, mode.detail && el("span", { class: "note" }, ` ${mode.detail}`)),
            el("td", { class: "figure" }, mode.episodes.length),
            el(
              "td",
              {},
              Object.entries(mode.tasks)
                .map(([task, number]) => `${task} (${number})`)
                .join(", "),
            ),
            el("td", {}, el("a", { href: address(mode) }, mode.episodes[0])),
          ),
        ),
      ),
    ),
  ];
}

function headline(summary) {
  const interval =
    summary.ci95 === null ? "no interval: too few variations of each type" : `95% interval ${range(summary.ci95)}`;
  const tile = (words, value, below) =>
    el("div", { class: "tile" }, el("span", {}, words), el("strong", {}, value), el("span", {}, below));
  return el(
    "div",
    { class: "tiles" },
    el(
      "div",
      { class: "tile main" },
      el("span", {}, "Score"),
      el("strong", {}, points(summary.mean)),
      el("span", {}, `mean of ${count(summary.tasks.length, "task type")}`),
      span(summary.mean, summary.ci95),
      el("span", {}, interval),
      summary.repeats > 1 && summary.ci95_play && el("span", {}, `of play alone ${range(summary.ci95_play)}`),
    ),
    tile("Solved", percent(summary.success_rate), `of ${count(summary.episodes, "episode")}`),
    Object.entries(summary.groups).map(([group, mean]) => tile(group, points(mean), "mean")),
    tile(
      "Actions",
      Math.round(summary.effort.actions),
      `an episode, ${Math.round(summary.effort.model_calls)} model calls, ${seconds(summary.effort.seconds)}`,
    ),
    tile("Repaired", summary.effort.repaired.toFixed(1), "actions an episode"),
  );
}

const range = ([low, high]) => `${points(low)} to ${points(high)}`;

function byTask(summary, published, evaluation) {
  const line = (label, name, n, mean, ci95, solved, columns, attributes) =>
    el(
      "tr",
      attributes,
      el(
        "td",
        { class: "label" },
        label && el("a", { href: `#/evaluations/${encodeURIComponent(evaluation)}?task=${label}` }, label),
      ),
      el("td", {}, name),
      el("td", { class: "figure" }, n),
      el("td", { class: "figure" }, points(mean)),
      el("td", { class: "drawn" }, span(mean, ci95)),
      el("td", { class: "figure" }, percent(solved)),
      published.methods.map((method) => el("td", { class: "figure theirs" }, points(columns[method]))),
    );
  const rows = (task) =>
    line(task.id, task.name, task.episodes, task.mean, task.ci95, task.success_rate, published.tasks[task.id], {});
  const means = (name, tasks, mean, ci95, columns, kind) => {
    const solved = tasks.reduce((sum, task) => sum + task.success_rate, 0) / tasks.length;
    const n = tasks.reduce((sum, task) => sum + task.episodes, 0);
    return line("", `${name}: mean of ${tasks.length}`, n, mean, ci95, solved, columns, { class: kind });
  };
  const bodies = Object.entries(summary.groups).map(([group, mean]) => {
    const tasks = summary.tasks.filter((task) => task.group === group);
    return el("tbody", {}, tasks.map(rows), means(group, tasks, mean, null, published.groups[group], "mean"));
  });
  const columns = [
    figure("n"),
    figure("Score"),
    el("th", { scope: "col", class: "drawn" }, "0 to 100"),
    figure("Solved"),
    ...published.methods.map((name) => figure(name)),
  ];
  return el(
    "table",
    { id: "tasks" },
    heads("Task", "Name", ...columns),
    bodies,
    el("tbody", {}, means("all", summary.tasks, summary.mean, summary.ci95, published.overall, "mean all")),
  );
}

function byMethod(summary, methods) {
  const groups = ["short", "medium", "long"];
  const line = (method, model, overall, means, from, attributes) =>
    el(
      "tr",
      attributes,
      el("td", {}, method),
      el("td", {}, model),
      el("td", { class: "figure" }, points(overall)),
      groups.map((group) => el("td", { class: "figure" }, points(means[group]))),
      el("td", {}, from),
    );
  return el(
    "table",
    { id: "methods" },
    heads("Method", "Model", figure("Overall"), ...groups.map((name) => figure(name)), "From"),
    el(
      "tbody",
      {},
      methods.map((one) => line(one.method, one.model, one.overall, one.groups, one.provenance, {})),
    ),
    el(
      "tbody",
      {},
      line("Waymark", "this run", summary.mean, summary.groups, `here, ${count(summary.tasks.length, "task type")}`, {
        class: "mean all",
      }),
    ),
  );
}
