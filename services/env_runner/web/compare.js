// Two or more runs: differences with intervals, in all and by task, and the episodes that changed most.

import { api } from "./api.js";
import { chooseRuns } from "./choose_runs.js";
import { el, number, numberHead, stacked, tableHead, wide } from "./dom.js";
import { pairAddress } from "./other_runs.js";
import {
  count,
  duration,
  minus,
  percent,
  points,
  range,
  signed,
  signedPoints,
  signedRange,
  variationName,
} from "./format_values.js";
import { worldOf } from "./worlds.js";

export async function compare({ main, place, signal, query }) {
  const ids = query.getAll("run");
  place([["Evaluations", "#/"]], "Compare");
  const { items } = await api.runs(signal);
  if (ids.length < 2) {
    main.replaceChildren(...chooseRuns(items, ids[0]));
    return;
  }
  const names = new Map(items.map((entry) => [entry.status.id, entry.notes.name || entry.status.id]));
  const answer = await api.comparison(ids, signal);
  const { comparison } = answer;
  const world = await worldOf(comparison.world);
  const agents = new Map(comparison.agents.map((agent) => [agent.run, agent.name]));
  const baseline = comparison.agents[0].name;
  main.replaceChildren(
    el("h1", {}, "Comparison"),
    el(
      "p",
      { class: "lead" },
      `${count(comparison.variations, "variation")} of ${count(comparison.task_types, "task type")} that all of these runs have played. `,
      `The baseline is ${baseline}.`,
    ),
    wide("Scores", stacked(overall(comparison, names))),
    el("h2", {}, "Difference from the baseline"),
    wide("Differences", stacked(differences(comparison))),
    el(
      "p",
      { class: "note" },
      "An interval that does not contain 0 means that the difference is unlikely to come from the choice of variations alone.",
    ),
    ...answer.runs.slice(1).flatMap((run) => {
      const changed = changedMost(
        answer.changed.filter((episode) => episode.run === run),
        answer.runs[0],
        world,
        agents.get(run),
      );
      const tasks = answer.tasks.filter((task) => task.run === run);
      return [
        el("h2", {}, `By task: ${agents.get(run)} minus ${baseline}`),
        wide("Differences by task", byTask(tasks, world, changed.choose)),
        ...changed.elements,
      ];
    }),
    comparison.notes.length ? el("p", { class: "note" }, comparison.notes.join(" ")) : "",
  );
}

function overall(comparison, names) {
  return el(
    "table",
    { id: "agents" },
    tableHead(
      "Agent",
      "Run",
      numberHead("Score"),
      numberHead("95% interval"),
      numberHead("Solved"),
      numberHead("Actions"),
      numberHead("Tokens"),
      numberHead("Time"),
    ),
    el(
      "tbody",
      {},
      comparison.agents.map((agent) =>
        el(
          "tr",
          {},
          el("td", {}, agent.name),
          el(
            "td",
            {},
            el("a", { href: `#/evaluations/${encodeURIComponent(agent.run)}` }, names.get(agent.run) ?? agent.run),
          ),
          number(points(agent.mean)),
          number(agent.ci95 === null ? "–" : range(agent.ci95)),
          number(percent(agent.success_rate)),
          number(Math.round(agent.effort.actions)),
          number(Math.round(agent.effort.tokens).toLocaleString("en")),
          number(duration(agent.effort.seconds)),
        ),
      ),
    ),
  );
}

const interval = (ci95) => (ci95 === null ? "too few variations" : signedRange(ci95));
const direction = (value) => ({ class: value < 0 ? "loss" : value > 0 ? "gain" : "" });

function differences(comparison) {
  return el(
    "table",
    { id: "differences" },
    tableHead(
      "Agents",
      numberHead("Difference"),
      numberHead("95% interval"),
      numberHead("Better on"),
      numberHead("Equal on"),
      numberHead("Worse on"),
    ),
    el(
      "tbody",
      {},
      comparison.differences.map((difference) =>
        el(
          "tr",
          {},
          el("td", {}, `${difference.agent} minus ${difference.baseline}`),
          number(signedPoints(difference.mean), direction(difference.mean)),
          number(interval(difference.ci95)),
          [difference.better, difference.equal, difference.worse].map((variations) => number(variations)),
        ),
      ),
    ),
  );
}

/** `choose` is called with the id of a task whose changed episodes are wanted. */
function byTask(tasks, world, choose) {
  const rows = [...tasks].sort((a, b) => a.difference - b.difference);
  return el(
    "table",
    { id: "by-task" },
    tableHead(
      "Task",
      "Name",
      numberHead("Episodes"),
      numberHead("Baseline"),
      numberHead("This agent"),
      numberHead("Difference"),
      numberHead("95% interval"),
    ),
    el(
      "tbody",
      {},
      rows.map((task) =>
        el(
          "tr",
          {},
          el(
            "td",
            { class: "label" },
            task.difference === 0
              ? task.task
              : el(
                  "button",
                  { type: "button", class: "link", title: "Its changed episodes", click: () => choose(task.task) },
                  task.task,
                ),
          ),
          el("td", {}, world.taskName(task.task)),
          number(task.episodes),
          number(points(task.baseline_mean)),
          number(points(task.mean)),
          number(signedPoints(task.difference), direction(task.difference)),
          number(interval(task.ci95)),
        ),
      ),
    ),
  );
}

/** The episodes whose score differs most, of all tasks or of one; `choose` shows those of a task. */
function changedMost(episodes, baseline, world, agent) {
  const title = el("h2", {}, `Episodes that changed most: ${agent}`);
  if (!episodes.length)
    return {
      elements: [title, el("p", {}, "Every shared episode has the same score in both runs.")],
      choose: () => {},
    };
  const body = el("tbody");
  const table = el(
    "table",
    { id: "changed" },
    tableHead(
      "Task",
      "Name",
      numberHead("Variation"),
      numberHead("Baseline"),
      numberHead("This agent"),
      numberHead("Change"),
      el("th", { scope: "col" }, el("span", { class: "hidden" }, "Replays")),
    ),
    body,
  );
  const draw = () => {
    const shown = episodes.filter((episode) => !task.value || episode.task === task.value);
    body.replaceChildren(...shown.map((episode) => changedRow(episode, baseline, world)));
    stacked(table);
  };
  const tasks = [...new Set(episodes.map((episode) => episode.task))].sort(
    new Intl.Collator("en", { numeric: true }).compare,
  );
  const task = el(
    "select",
    { "aria-label": "Task", change: draw },
    el("option", { value: "" }, "all"),
    tasks.map((id) => el("option", { value: id }, world.taskTitle(id))),
  );
  draw();
  const filter = el("span", { class: "pair" }, el("span", { "aria-hidden": "true" }, "Task"), task);
  const choose = (id) => {
    task.value = tasks.includes(id) ? id : "";
    draw();
    title.scrollIntoView();
    task.focus({ preventScroll: true });
  };
  return { elements: [title, el("p", { class: "filter" }, filter), wide("Episodes that changed most", table)], choose };
}

function changedRow(episode, baseline, world) {
  const change = episode.score - episode.baseline_score;
  return el(
    "tr",
    {},
    el("td", { class: "label" }, episode.task),
    el("td", {}, world.taskName(episode.task)),
    number(variationName(episode.variation, episode.repeat)),
    number(minus(episode.baseline_score)),
    number(minus(episode.score)),
    number(signed(change), direction(change)),
    el(
      "td",
      {},
      el(
        "a",
        { href: pairAddress(baseline, episode.baseline_episode, episode), class: "label" },
        "Side by side",
        el("span", { class: "hidden" }, ` ${episode.task} variation ${episode.variation}`),
      ),
    ),
  );
}
