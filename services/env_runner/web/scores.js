// The scores of an evaluation, beside the published ones where the world has some.

import { scoreBar } from "./chart.js";
import { el, number, numberHead, tableHead, wide } from "./dom.js";
import { count, duration, percent, points, range } from "./format_values.js";

/** The headline. Nothing is shown before the first result. */
export function headline({ summary }, world) {
  if (summary.tasks.length === 0)
    return [el("p", { class: "empty" }, "No episode has finished yet. Scores appear with the first one.")];
  const interval =
    summary.ci95 === null ? "no interval: too few variations of each task" : `95% interval ${range(summary.ci95)}`;
  const tile = (label, value, below) =>
    el("div", { class: "tile" }, el("span", {}, label), el("strong", {}, value), el("span", {}, below));
  return [
    el(
      "div",
      { class: "tiles" },
      el(
        "div",
        { class: "tile main" },
        el("span", {}, "Score"),
        el("strong", {}, points(summary.mean)),
        el("span", {}, `mean of ${count(summary.tasks.length, "task type")}, of ${world.solved_score} points`),
        scoreBar(summary.mean, summary.ci95, world.solved_score),
        el("span", {}, interval),
        summary.repeats > 1 && summary.ci95_play && el("span", {}, `randomness of play alone ${range(summary.ci95_play)}`),
      ),
      tile("Solved", percent(summary.success_rate), `of ${count(summary.episodes, "episode")}`),
      Object.entries(summary.groups).map(([group, mean]) => tile(group, points(mean), "mean score")),
      tile(
        "Actions",
        Math.round(summary.effort.actions),
        `an episode; ${Math.round(summary.effort.model_calls)} model calls, ${duration(summary.effort.seconds)}`,
      ),
      tile("Repaired", summary.effort.repaired.toFixed(1), "actions an episode"),
    ),
  ];
}

/** Scores by task type, and published agents below where there are some. `choose` is called with a task's id. */
export function tables({ evaluation, summary, published, methods, notes }, world, choose) {
  if (summary.tasks.length === 0) return [];
  const sections = [
    el("h2", {}, "Scores by task type"),
    wide("Scores by task type", byTask(evaluation, summary, published, world, choose)),
  ];
  if (methods.length)
    sections.push(el("h2", {}, "Published agents"), wide("Published agents", byMethod(summary, methods, world)));
  sections.push(el("p", { class: "note" }, [...summary.randomness, ...notes].join(" ")));
  return sections;
}

function byTask(evaluation, summary, published, world, choose) {
  const row = (task, name, episodes, mean, ci95, solved, columns, attributes) =>
    el(
      "tr",
      attributes,
      el("td", { class: "label" }, task && episodesLink(evaluation, task, choose)),
      el("td", {}, name),
      number(episodes),
      number(points(mean)),
      el("td", { class: "drawn" }, scoreBar(mean, ci95, world.solved_score)),
      number(percent(solved)),
      published.methods.map((method) => number(points(columns?.[method]), { class: "theirs" })),
    );
  const means = (name, tasks, mean, ci95, columns, kind) => {
    const solved = tasks.reduce((sum, task) => sum + task.success_rate, 0) / tasks.length;
    const episodes = tasks.reduce((sum, task) => sum + task.episodes, 0);
    return row("", `${name}: mean of ${tasks.length}`, episodes, mean, ci95, solved, columns, { class: kind });
  };
  const bodies = Object.entries(summary.groups).map(([group, mean]) => {
    const tasks = summary.tasks.filter((task) => task.group === group);
    const rows = tasks.map((task) =>
      row(
        task.id,
        world.taskName(task.id),
        task.episodes,
        task.mean,
        task.ci95,
        task.success_rate,
        published.tasks[task.id],
        {},
      ),
    );
    return el("tbody", {}, rows, means(group, tasks, mean, null, published.groups[group], "mean"));
  });
  return el(
    "table",
    { id: "tasks" },
    tableHead(
      "Task",
      "Name",
      numberHead("Episodes"),
      numberHead("Score"),
      el("th", { scope: "col", class: "drawn" }, `0 to ${world.solved_score}`),
      numberHead("Solved"),
      ...published.methods.map((name) => numberHead(name)),
    ),
    bodies,
    el("tbody", {}, means("all", summary.tasks, summary.mean, summary.ci95, published.overall, "mean all")),
  );
}

/** A link to the episodes of a task below; on this page itself it only filters and scrolls. */
function episodesLink(evaluation, task, choose) {
  const click = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    choose(task);
  };
  const href = `#/evaluations/${encodeURIComponent(evaluation)}?task=${encodeURIComponent(task)}`;
  return el("a", { href, click, title: `Episodes of task ${task}` }, task);
}

function byMethod(summary, methods, world) {
  const row = (method, model, overall, means, source, attributes) =>
    el(
      "tr",
      attributes,
      el("td", {}, method),
      el("td", {}, model),
      number(points(overall)),
      world.groups.map((group) => number(points(means[group]))),
      el("td", {}, source),
    );
  return el(
    "table",
    { id: "methods" },
    tableHead(
      "Method",
      "Model",
      numberHead("Overall"),
      ...world.groups.map((name) => numberHead(name, "name")),
      "Source",
    ),
    el(
      "tbody",
      {},
      methods.map((agent) => row(agent.method, agent.model, agent.overall, agent.groups, agent.provenance, {})),
    ),
    el(
      "tbody",
      {},
      row("Waymark", "this evaluation", summary.mean, summary.groups, count(summary.tasks.length, "task type"), {
        class: "mean all",
      }),
    ),
  );
}
