// The episodes of an evaluation, and how one ended.

import { cell, count, el, figure, heads, keep, minus, played, say, seconds } from "./dom.js";

const OUTCOMES = {
  all: () => true,
  solved: (result) => result?.success,
  unsolved: (result) => result && !result.success && !result.error,
  errored: (result) => result?.error,
  waiting: (result) => !result,
};
const ROWS = 200; // shown at first; more as the reader scrolls down

/** All episodes, those that are not played yet too; the choice of what is shown stands in the address. */
export class EpisodeList {
  constructor(id, query) {
    this.id = id;
    this.entries = new Map();
    this.body = el("tbody");
    this.shown = el("span", { class: "note", role: "status" });
    this.most = ROWS;
    this.more = el("button", { type: "button", click: () => this.extend() }, "More episodes");
    new IntersectionObserver((seen) => seen[0].isIntersecting && this.extend(), { rootMargin: "1200px" }).observe(
      this.more,
    );
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
      el("p", {}, this.more),
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

  extend() {
    this.most += ROWS;
    this.draw();
  }

  choose() {
    this.most = ROWS;
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
    this.more.hidden = chosen.length <= this.most;
    keep(
      this.body,
      chosen.slice(0, this.most),
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
