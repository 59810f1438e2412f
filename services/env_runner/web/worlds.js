// The worlds that evaluations are played in: names of tasks, groups and rules, and the scale of scores.

import { api } from "./api.js";

let described = null; // the answer, asked for once

/** What there is to know of the world that a result names with its version, e.g. `scienceworld 1.2.3`. */
export async function worldOf(environment) {
  const name = environment.split(" ")[0];
  described ??= api.worlds().catch((error) => {
    described = null; // e.g. no key yet: ask again next time
    throw error;
  });
  const { items } = await described;
  return new World(items.find((item) => item.name === name) ?? unknown(name));
}

/** The world of an evaluation. */
export const worldOfStatus = (status) =>
  worldOf(status.versions?.environment ?? status.request.world ?? "scienceworld");

class World {
  constructor(info) {
    Object.assign(this, info);
    this.names = new Map(info.tasks.map((task) => [task.id, task.name]));
    this.descriptions = new Map(info.rules.map((rule) => [rule.name, rule.description]));
  }

  /** The name of a task type; empty where it has none but its id. */
  taskName(id) {
    const name = this.names.get(id) ?? "";
    return name === id ? "" : name;
  }

  /** A task type as `4-2 find-non-living-thing`, or its id alone. */
  taskTitle(id) {
    return [id, this.taskName(id)].filter(Boolean).join(" ");
  }

  ruleDescription(name) {
    return this.descriptions.get(name) ?? "";
  }
}

/** For a run of a world that this version does not know. */
const unknown = (name) => ({
  name,
  title: name,
  groups: [],
  tasks: [],
  protocols: [],
  rules: [],
  default_options: "",
  lowest_score: -100,
  solved_score: 100,
  published: [],
});
