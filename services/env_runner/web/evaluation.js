// Page 2: one evaluation, live: how far it is, what it scored beside the published agents, and its episodes.

import { api, passing, sleep } from "./api.js";
import { span } from "./chart.js";
import {
  ago,
  asked,
  badge,
  cell,
  count,
  el,
  figure,
  heads,
  keep,
  minus,
  percent,
  played,
  points,
  progress,
  say,
  seconds,
} from "./dom.js";

const ENDED = new Set(["finished", "cancelled"]);
const SUM_EVERY = 2_000; // ms between two looks at the figures while results come in
const LOOK_EVERY = 5_000; // ms between two looks at one that has ended: others may resume it
const OUTCOMES = {
  all: () => true,
  solved: (result) => result?.success,
  unsolved: (result) => result && !result.success && !result.error,
  errored: (result) => result?.error,
  waiting: (result) => !result,
};

export async function evaluation({ main, place, notify, signal, query }, id) {
  const status = await api.evaluation(id, signal);
  place([["Evaluations", "#/"]], id);
  const header = new Header(id, notify);
  const figures = el("section", { "aria-label": "Scores" });
  const list = new EpisodeList(id, query);
  header.show(status);
  main.replaceChildren(header.element, figures, list.element);

  let summed = 0;
  let summing = null;
  /** Look at the figures, soon after something changed and not too often. */
  function sum() {
    summing ??= sleep(Math.max(0, summed + SUM_EVERY - Date.now()), signal)
      .then(() => {
        summing = null;
        summed = Date.now();
        return api.summary(id, signal);
      })
      .then((answer) => {
        const scrolled = [...figures.querySelectorAll(".wide")].map((table) => table.scrollLeft);
        figures.replaceChildren(...scores(answer));
        figures.querySelectorAll(".wide").forEach((table, place) => (table.scrollLeft = scrolled[place] ?? 0));
      })
      .catch(() => {}); // the stream of events tells of a lost connection, and of the next result
  }

  for (;;) {
    let [last, lost] = [status, false];
    list.begin(await api.episodes(id, signal));
    sum();
    for await (const { event, data } of api.events(id, signal)) {
      if (lost !== (event === "broken")) {
        lost = !lost;
        notify(lost ? "The connection is lost; this page goes on trying." : null);
      }
      if (event === "episode" && list.add(data)) sum();
      if (event === "status") {
        header.show(data);
        last = data;
        if (ENDED.has(data.state)) break;
      }
    }
    sum();
    await changed(id, last, header, signal);
  }
}

/** Return once an evaluation that has ended is another than `before`, or somebody here has asked for that. */
async function changed(id, before, header, signal) {
  for (;;) {
    const asked = await Promise.race([sleep(LOOK_EVERY, signal), header.asked()]);
    try {
      const status = await api.evaluation(id, signal);
      if (asked || JSON.stringify(status) !== JSON.stringify(before)) return;
    } catch (error) {
      if (!passing(error)) throw error;
    }
  }
}

/** What was asked for, how far it is, and what may be done with it. */
class Header {
  constructor(id, notify) {
    this.notify = notify;
    this.state = el("span");
    this.progress = el("div", { class: "far" });
    this.what = el("p", { class: "what" });
    this.cancel = this.button("Cancel", () => api.cancel(id));
    this.resume = this.button("Resume", () => api.resume(id, false));
    this.again = this.button("Play errored ones again", () => api.resume(id, true));
    const exports = ["csv", "jsonl", "parquet"].map((format) =>
      this.button(format.toUpperCase(), () => api.save(id, format)),
    );
    this.element = el(
      "section",
      { class: "head" },
      el("h1", {}, id, " ", this.state),
      this.what,
      this.progress,
      el(
        "p",
        { class: "actions" },
        this.cancel,
        this.resume,
        this.again,
        el("span", { class: "exports" }, "Export ", exports),
      ),
    );
  }

  button(words, act) {
    const click = async () => {
      pressed.disabled = true;
      try {
        await act();
        this.notify(null);
        this.heard?.(true);
      } catch (error) {
        this.notify(error.message);
      }
      pressed.disabled = false;
    };
    const pressed = el("button", { type: "button", click }, words);
    return pressed;
  }

  /** Resolves with true when a button was pressed. */
  asked() {
    return new Promise((resolve) => {
      this.heard = resolve;
    });
  }

  show(status) {
    const running = !ENDED.has(status.state);
    this.state.replaceChildren(badge(status.state));
    this.progress.replaceChildren(progress(status), el("span", {}, going(status)));
    this.what.replaceChildren(
      el("strong", {}, status.agent_name),
      ` · ${asked(status.request)} · begun `,
      ago(status.created),
      made(status.versions),
    );
    this.cancel.hidden = !running;
    this.resume.hidden = status.state !== "cancelled";
    this.again.hidden = running || status.errored === 0;
  }
}

function going({ running, errored, episodes, finished, state }) {
  const waiting = episodes - finished - running;
  const parts = [
    running ? `${running} being played` : "",
    waiting && !ENDED.has(state) ? `${waiting} waiting` : "",
    waiting && state === "cancelled" ? `${waiting} not played` : "",
    errored ? `${errored} errored` : "",
  ];
  return parts.filter(Boolean).join(", ");
}

function made(versions) {
  if (versions === null) return "";
  const models = [versions.controller, versions.first, versions.executor].filter((one) => one);
  const named = models.map((one) => `${one.role} ${one.checkpoint} (${one.engine})`).join(", ");
  return ` · ${versions.environment}; ${named}`;
}

// --- scores -------------------------------------------------------------------------------------------------------

function scores({ summary, published, methods, notes }) {
  if (summary.tasks.length === 0)
    return [el("p", { class: "empty" }, "No result yet. Scores appear with the first one.")];
  return [
    headline(summary),
    el("h2", {}, "By task type"),
    el(
      "div",
      { class: "wide", tabindex: "0", role: "region", "aria-label": "Scores by task type" },
      byTask(summary, published),
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

function byTask(summary, published) {
  const line = (label, name, n, mean, ci95, solved, columns, attributes) =>
    el(
      "tr",
      attributes,
      el("td", { class: "label" }, label),
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

// --- episodes -----------------------------------------------------------------------------------------------------

/** All episodes, those that are not played yet too; the choice of what is shown stands in the address. */
class EpisodeList {
  constructor(id, query) {
    this.id = id;
    this.entries = new Map();
    this.body = el("tbody");
    this.shown = el("span", { class: "note", role: "status" });
    this.task = el("select", { id: "task", change: () => this.choose() });
    this.outcome = el(
      "select",
      { id: "outcome", change: () => this.choose() },
      Object.keys(OUTCOMES).map((name) => el("option", { value: name }, name)),
    );
    this.wanted = query.get("task") ?? "";
    this.outcome.value = query.get("outcome") in OUTCOMES ? query.get("outcome") : "all";
    this.element = el(
      "section",
      { "aria-label": "Episodes" },
      el("h2", {}, "Episodes"),
      el(
        "p",
        { class: "filter" },
        el("label", { for: "task" }, "Task"),
        this.task,
        el("label", { for: "outcome" }, "Outcome"),
        this.outcome,
        this.shown,
      ),
      el(
        "table",
        { id: "episodes" },
        heads(
          "Task",
          figure("Variation"),
          figure("Score"),
          "Outcome",
          figure("Actions", "more"),
          figure("Moves", "more"),
          figure("Repaired", "more"),
          figure("Time", "more"),
        ),
        this.body,
      ),
    );
  }

  begin(entries) {
    this.entries = new Map(entries.map((entry) => [entry.id, entry]));
    const tasks = [...new Set(entries.map((entry) => entry.task))];
    this.task.replaceChildren(
      el("option", { value: "" }, "all"),
      ...tasks.map((task) => el("option", { value: task }, task)),
    );
    this.task.value = tasks.includes(this.wanted) ? this.wanted : "";
    this.draw();
  }

  /** Take in a result; whether it is a new one. */
  add(result) {
    const before = this.entries.get(result.id)?.result;
    if (JSON.stringify(before) === JSON.stringify(result)) return false;
    const { id, task, variation, repeat } = result;
    this.entries.set(id, { id, task, variation, repeat, result });
    this.drawing ??= requestAnimationFrame(() => this.draw()); // many may come at once
    return true;
  }

  choose() {
    this.wanted = this.task.value;
    const query = new URLSearchParams({
      ...(this.wanted && { task: this.wanted }),
      ...(this.outcome.value !== "all" && { outcome: this.outcome.value }),
    });
    history.replaceState(null, "", `#/evaluations/${encodeURIComponent(this.id)}${query.size ? `?${query}` : ""}`);
    this.draw();
  }

  draw() {
    this.drawing = null;
    const every = [...this.entries.values()];
    const chosen = every.filter(
      ({ task, result }) => (!this.task.value || task === this.task.value) && OUTCOMES[this.outcome.value](result),
    );
    say(
      this.shown,
      chosen.length === every.length
        ? count(every.length, "episode")
        : `${chosen.length} of ${count(every.length, "episode")}`,
    );
    keep(
      this.body,
      chosen,
      (entry) => entry.id,
      (entry) => this.row(entry),
    );
  }

  row({ id, task, variation, repeat, result }) {
    if (result === null) {
      return el(
        "tr",
        { class: "waiting" },
        cell("Task", {}, task),
        cell("Variation", { class: "figure" }, played(variation, repeat)),
        cell("Score", { class: "figure" }, "–"),
        cell("Outcome", { colspan: 5 }, "no result yet"),
      );
    }
    const address = `#/evaluations/${encodeURIComponent(this.id)}/episodes/${encodeURIComponent(id)}`;
    return el(
      "tr",
      { class: result.error ? "errored" : null },
      cell("Task", {}, el("a", { href: address }, `${task}`)),
      cell("Variation", { class: "figure" }, played(variation, repeat)),
      cell("Score", { class: "figure" }, minus(result.raw_score)),
      cell("Outcome", { class: "outcome" }, outcome(result)),
      cell("Actions", { class: "figure more" }, result.actions),
      cell("Moves", { class: "figure more" }, result.moves),
      cell("Repaired", { class: "figure more" }, result.repaired),
      cell("Time", { class: "figure more" }, seconds(result.seconds)),
    );
  }
}

const ENDS = {
  completed: "completed",
  failed: "failed: the score went negative",
  moves: "out of moves",
  turns: "out of turns",
  patience: "gave up going in circles",
  cancelled: "cancelled",
};

export function outcome(result) {
  if (result.error) return [el("span", { class: "badge errored" }, result.error.kind), " ", result.error.message];
  return result.success ? el("span", { class: "badge solved" }, "solved") : ENDS[result.stopped];
}
