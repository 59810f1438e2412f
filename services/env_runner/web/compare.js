// Two or more runs: differences with intervals, by task and in all, and the episodes that changed most.

import { api } from "./api.js";
import { ago, asked, count, el, figure, heads, minus, percent, played, points, seconds } from "./dom.js";

export async function compare({ main, place, signal, query }) {
  const ids = query.getAll("run");
  place([["Evaluations", "#/"]], "Compare");
  const { items } = await api.runs(signal);
  const names = new Map(items.map((one) => [one.status.id, one.notes.name || one.status.id]));
  if (ids.length < 2) {
    main.replaceChildren(...choose(items, ids[0]));
    return;
  }
  const [found, { tasks }] = await Promise.all([api.comparison(ids, signal), api.options(signal)]);
  const titles = new Map(tasks.map((task) => [task.id, task.name]));
  const agents = new Map(found.comparison.agents.map((one) => [one.run, one.name]));
  main.replaceChildren(
    el("h1", {}, "Comparison"),
    el(
      "p",
      { class: "what" },
      `${count(found.comparison.variations, "shared variation")} of ${count(found.comparison.task_types, "task type")}. The others are compared with the first run.`,
    ),
    scroll("Scores", overall(found.comparison, names)),
    el("h2", {}, "Difference"),
    scroll("Differences", differences(found.comparison)),
    el(
      "p",
      { class: "note" },
      "An interval that does not contain 0 means that the difference is unlikely to be luck of the variations.",
    ),
    ...found.runs.slice(1).flatMap((run) => [
      el("h2", {}, `By task: ${agents.get(run)} minus ${found.comparison.agents[0].name}`),
      scroll(
        "Differences by task",
        byTask(
          found.tasks.filter((one) => one.run === run),
          titles,
        ),
      ),
      el("h2", {}, `Episodes that changed most: ${agents.get(run)}`),
      changed(
        found.changed.filter((one) => one.run === run),
        found.runs[0],
        titles,
      ),
    ]),
    found.comparison.notes.length ? el("p", { class: "note" }, found.comparison.notes.join(" ")) : "",
  );
}

function choose(items, first) {
  const boxes = items.map(({ status, notes }) => {
    const box = el("input", { type: "checkbox", name: "run", value: status.id, checked: status.id === first });
    return el(
      "li",
      {},
      el(
        "label",
        {},
        box,
        " ",
        notes.name || status.id,
        el("span", { class: "note" }, ` ${status.agent_name} · ${asked(status.request)} · `, ago(status.created)),
      ),
    );
  });
  const wrong = el("p", { class: "wrong", role: "alert" });
  const submit = (event) => {
    event.preventDefault();
    const chosen = [...event.target.querySelectorAll("input:checked")].map((box) => box.value);
    const ordered = [...(chosen.includes(first) ? [first] : []), ...chosen.filter((one) => one !== first)];
    if (ordered.length < 2) wrong.textContent = "Choose two or more runs.";
    else location.hash = `#/compare?${ordered.map((one) => `run=${encodeURIComponent(one)}`).join("&")}`;
  };
  return [
    el("h1", {}, "Compare runs"),
    el(
      "form",
      { submit },
      el("p", {}, "Choose two or more runs that played the same variations."),
      el("ul", { class: "choices" }, boxes),
      wrong,
      el("button", { type: "submit" }, "Compare"),
    ),
  ];
}

const scroll = (words, table) =>
  el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": words }, table);
const signed = (value) => `${value > 0 ? "+" : ""}${points(value)}`.replace("-", "−");
const range = (interval) =>
  interval === null ? "too few variations" : `${signed(interval[0])} to ${signed(interval[1])}`;

function overall(comparison, names) {
  return el(
    "table",
    { id: "agents" },
    heads(
      "Agent",
      "Run",
      figure("Score"),
      figure("95% interval"),
      figure("Solved"),
      figure("Actions"),
      figure("Tokens"),
      figure("Time"),
    ),
    el(
      "tbody",
      {},
      comparison.agents.map((one) =>
        el(
          "tr",
          {},
          el("td", {}, one.name),
          el(
            "td",
            {},
            el("a", { href: `#/evaluations/${encodeURIComponent(one.run)}` }, names.get(one.run) ?? one.run),
          ),
          el("td", { class: "figure" }, points(one.mean)),
          el("td", { class: "figure" }, one.ci95 === null ? "–" : `${points(one.ci95[0])} to ${points(one.ci95[1])}`),
          el("td", { class: "figure" }, percent(one.success_rate)),
          el("td", { class: "figure" }, Math.round(one.effort.actions)),
          el("td", { class: "figure" }, Math.round(one.effort.tokens).toLocaleString("en")),
          el("td", { class: "figure" }, seconds(one.effort.seconds)),
        ),
      ),
    ),
  );
}

function differences(comparison) {
  return el(
    "table",
    { id: "differences" },
    heads("Agent", figure("Difference"), figure("95% interval"), figure("Better"), figure("Equal"), figure("Worse")),
    el(
      "tbody",
      {},
      comparison.differences.map((one) =>
        el(
          "tr",
          {},
          el("td", {}, `${one.agent} minus ${one.baseline}`),
          el("td", { class: "figure" }, signed(one.mean)),
          el("td", { class: "figure" }, range(one.ci95)),
          [one.better, one.equal, one.worse].map((number) => el("td", { class: "figure" }, number)),
        ),
      ),
    ),
  );
}

function byTask(tasks, titles) {
  const rows = [...tasks].sort((a, b) => a.difference - b.difference);
  return el(
    "table",
    { id: "by-task" },
    heads(
      "Task",
      "Name",
      figure("n"),
      figure("First run"),
      figure("This run"),
      figure("Difference"),
      figure("95% interval"),
    ),
    el(
      "tbody",
      {},
      rows.map((one) =>
        el(
          "tr",
          {},
          el("td", { class: "label" }, one.task),
          el("td", {}, titles.get(one.task) ?? ""),
          el("td", { class: "figure" }, one.episodes),
          el("td", { class: "figure" }, points(one.baseline_mean)),
          el("td", { class: "figure" }, points(one.mean)),
          el(
            "td",
            { class: `figure ${one.difference < 0 ? "loss" : one.difference > 0 ? "gain" : ""}` },
            signed(one.difference),
          ),
          el("td", { class: "figure" }, range(one.ci95)),
        ),
      ),
    ),
  );
}

function changed(episodes, baseline, titles) {
  if (!episodes.length) return el("p", {}, "No shared episode has another score.");
  const address = (one) => {
    const pair = new URLSearchParams({
      a: baseline,
      "a-episode": one.baseline_episode,
      b: one.run,
      "b-episode": one.episode,
    });
    return `#/side-by-side?${pair}`;
  };
  return el(
    "table",
    { id: "changed" },
    heads("Task", "Name", figure("Variation"), figure("First run"), figure("This run"), figure("Change"), ""),
    el(
      "tbody",
      {},
      episodes.map((one) =>
        el(
          "tr",
          {},
          el("td", {}, one.task),
          el("td", {}, titles.get(one.task) ?? ""),
          el("td", { class: "figure" }, played(one.variation, one.repeat)),
          el("td", { class: "figure" }, minus(one.baseline_score)),
          el("td", { class: "figure" }, minus(one.score)),
          el("td", { class: "figure" }, signed(one.score - one.baseline_score)),
          el(
            "td",
            {},
            el(
              "a",
              { href: address(one) },
              "Side by side",
              el("span", { class: "hidden" }, ` ${one.task} variation ${one.variation}`),
            ),
          ),
        ),
      ),
    ),
  );
}
