// The task types of a new evaluation, by group. None chosen means all.

import { el } from "./dom.js";
import { checkboxes } from "./forms.js";
import { count } from "./format_values.js";

export class TaskChooser {
  constructor(world) {
    this.world = world;
    this.groups = world.groups.map((group) => {
      const members = world.tasks.filter((task) => task.group === group);
      const all = el("input", { type: "checkbox" });
      const legend = el("label", {}, all, ` ${group}`);
      const boxes = checkboxes(
        `task-${group}`,
        legend,
        members.map((task) => [task.id, world.taskTitle(task.id)]),
      );
      all.addEventListener("change", () => boxes.boxes.forEach((box) => (box.checked = all.checked)));
      return { all, boxes };
    });
    this.summary = el("summary", {});
    this.wrong = el("p", { class: "wrong", role: "alert" });
    this.element = el(
      "details",
      { class: "tasks" },
      this.summary,
      el("p", { class: "hint" }, "If none is chosen, all are played."),
      this.groups.map(({ boxes }) => boxes.element),
      this.wrong,
    );
    this.update();
  }

  /** The ids that are chosen; empty for all. */
  value() {
    return this.groups.flatMap(({ boxes }) => boxes.value());
  }

  /** The task types that will be played. */
  chosenOrAll() {
    const chosen = new Set(this.value());
    return this.world.tasks.filter((task) => !chosen.size || chosen.has(task.id));
  }

  complain(message) {
    this.wrong.textContent = message ?? "";
  }

  update() {
    const chosen = this.value().length;
    this.summary.textContent = chosen
      ? count(chosen, "task type")
      : `all ${count(this.world.tasks.length, "task type")}`;
    for (const { all, boxes } of this.groups) {
      const number = boxes.value().length;
      all.checked = number === boxes.boxes.length;
      all.indeterminate = number > 0 && !all.checked;
    }
  }
}
