// The episodes of an evaluation: filtered, sorted, and shown more and more as the reader scrolls down.

import { cell, el, numberHead, setText, syncChildren } from "./dom.js";
import { count, duration, minus, outcome, variationName } from "./format_values.js";

const OUTCOMES = {
  all: () => true,
  solved: (result) => result?.success,
  unsolved: (result) => result && !result.success,
  errored: (result) => result?.error,
  "no result": (result) => !result,
};
const ORDERS = {
  "as played": () => 0,
  "lowest score first": (a, b) => scoreOf(a, Infinity) - scoreOf(b, Infinity),
  "highest score first": (a, b) => scoreOf(b, -Infinity) - scoreOf(a, -Infinity),
};
const scoreOf = (entry, missing) => entry.result?.raw_score ?? missing;
const ROWS = 200; // shown at first; more as the reader scrolls down

/** All episodes, those without a result too. What is shown stands in the address of the page. */
export class EpisodeList {
  constructor(id, query, world) {
    this.id = id;
    this.world = world;
    this.entries = new Map();
    this.body = el("tbody");
    this.counted = el("span", { class: "note", role: "status" });
    this.limit = ROWS;
    this.more = el("button", { type: "button", click: () => this.extend() }, "Show more episodes");
    new IntersectionObserver((seen) => seen[0].isIntersecting && this.extend(), { rootMargin: "1200px" }).observe(
      this.more,
    );
    this.task = el("select", { id: "task", change: () => this.changed() });
    this.outcome = this.choice("outcome", OUTCOMES, query.get("outcome"));
    this.order = this.choice("order", ORDERS, query.get("order"));
    this.wantedTask = query.get("task") ?? "";
    this.element = el(
      "section",
      { "aria-label": "Episodes", class: "episodes" },
      el("h2", {}, "Episodes"),
      el(
        "p",
        { class: "filter" },
        [
          ["task", "Task", this.task],
          ["outcome", "Outcome", this.outcome],
          ["order", "Order", this.order],
        ].map(([name, label, control]) => el("span", { class: "pair" }, el("label", { for: name }, label), control)),
        this.counted,
      ),
      el(
        "table",
        { id: "episodes", class: "cards" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            el("th", { scope: "col" }, "Task"),
            numberHead("Variation"),
            numberHead("Score"),
            el("th", { scope: "col" }, "Outcome"),
            ["Actions", "Moves", "Repaired", "Time"].map((name) => numberHead(name, "more")),
          ),
        ),
        this.body,
      ),
      el("p", {}, this.more),
    );
  }

  choice(id, entries, value) {
    const element = el(
      "select",
      { id, change: () => this.changed() },
      Object.keys(entries).map((name) => el("option", { value: name }, name)),
    );
    element.value = value in entries ? value : Object.keys(entries)[0];
    return element;
  }

  /** Show these entries. */
  begin(entries) {
    this.entries = new Map(entries.map((entry) => [entry.id, entry]));
    const tasks = [...new Set(entries.map((entry) => entry.task))];
    this.task.replaceChildren(
      el("option", { value: "" }, "all"),
      ...tasks.map((task) => el("option", { value: task }, this.world.taskTitle(task))),
    );
    this.task.value = tasks.includes(this.wantedTask) ? this.wantedTask : "";
    this.draw();
  }

  /** Add a result; returns whether it is a new one. */
  add(result) {
    const before = this.entries.get(result.id)?.result;
    if (JSON.stringify(before) === JSON.stringify(result)) return false;
    const { id, task, variation, repeat } = result;
    this.entries.set(id, { id, task, variation, repeat, result });
    this.drawing ??= requestAnimationFrame(() => this.draw()); // many may come at once
    return true;
  }

  /** Show the episodes of one task, the lowest score first, and scroll to them. */
  choose(task, outcomeName = "all") {
    this.task.value = task;
    this.outcome.value = outcomeName;
    this.order.value = "lowest score first";
    this.changed();
    this.reveal();
  }

  reveal() {
    this.element.scrollIntoView();
    this.task.focus({ preventScroll: true });
  }

  extend() {
    this.limit += ROWS;
    this.draw();
  }

  changed() {
    this.limit = ROWS;
    this.wantedTask = this.task.value;
    const query = new URLSearchParams({
      ...(this.wantedTask && { task: this.wantedTask }),
      ...(this.outcome.value !== "all" && { outcome: this.outcome.value }),
      ...(this.order.value !== "as played" && { order: this.order.value }),
    });
    history.replaceState(null, "", `#/evaluations/${encodeURIComponent(this.id)}${query.size ? `?${query}` : ""}`);
    this.draw();
  }

  draw() {
    this.drawing = null;
    const all = [...this.entries.values()];
    const chosen = all
      .filter(
        ({ task, result }) => (!this.task.value || task === this.task.value) && OUTCOMES[this.outcome.value](result),
      )
      .sort(ORDERS[this.order.value]);
    const total = count(all.length, "episode");
    setText(this.counted, chosen.length === all.length ? total : `${chosen.length.toLocaleString("en")} of ${total}`);
    this.more.hidden = chosen.length <= this.limit;
    syncChildren(
      this.body,
      chosen.slice(0, this.limit),
      (entry) => entry.id,
      (entry) => this.row(entry),
    );
  }

  row({ id, task, variation, repeat, result }) {
    const title = this.world.taskTitle(task);
    if (result === null) {
      return el(
        "tr",
        { class: "waiting" },
        cell("Task", {}, title),
        cell("Variation", { class: "figure" }, variationName(variation, repeat)),
        cell("Score", { class: "figure" }, "–"),
        cell("Outcome", { colspan: 5 }, "no result yet"),
      );
    }
    const address = `#/evaluations/${encodeURIComponent(this.id)}/episodes/${encodeURIComponent(id)}`;
    return el(
      "tr",
      { class: result.error ? "errored" : null },
      cell("Task", {}, el("a", { href: address }, title)),
      cell("Variation", { class: "figure" }, variationName(variation, repeat)),
      cell("Score", { class: "figure" }, minus(result.raw_score)),
      cell("Outcome", { class: "outcome" }, outcome(result)),
      cell("Actions", { class: "figure more" }, result.actions),
      cell("Moves", { class: "figure more" }, result.moves),
      cell("Repaired", { class: "figure more" }, result.repaired),
      cell("Time", { class: "figure more" }, duration(result.seconds)),
    );
  }
}
