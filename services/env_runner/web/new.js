// A form that starts an evaluation. What the service refuses is said beside the field.

import { api, Refused } from "./api.js";
import { count, el, field } from "./dom.js";

export async function start({ main, place, signal }) {
  place([["Evaluations", "#/"]], "New evaluation");
  const options = await api.options(signal);
  if (!options.can_play) {
    main.replaceChildren(
      el("div", { class: "empty" }, el("p", {}, "Only run folders are shown here: nothing can be started.")),
    );
    return;
  }
  main.replaceChildren(new Form(options).element);
}

const choice = (name, entries, value) => {
  const select = el(
    "select",
    { name },
    entries.map(([key, words]) => el("option", { value: key }, words)),
  );
  if (value !== undefined) select.value = value;
  return select;
};
const number = (name, value, min, max) => el("input", { type: "number", name, value, min, max, required: true });

class Form {
  constructor(options) {
    this.options = options;
    const { defaults, agents } = options;
    const rest = el("details", {}, el("summary", {}, "More settings"));
    this.fields = {
      protocol: field(
        "Protocol",
        choice(
          "protocol",
          options.protocols.map((one) => [one.name, `${one.name}: ${one.description}`]),
          defaults.protocol,
        ),
      ),
      agent: field(
        "Agent",
        choice(
          "agent",
          Object.keys(agents).map((name) => [name, name]),
        ),
      ),
      variations: field(
        "Variations",
        el("input", { name: "variations", placeholder: "those of the protocol" }),
        "Numbers or ranges, e.g. 0-3, 7. Empty: those of the protocol.",
      ),
      repeats: field(
        "Repeats",
        number("repeats", 1, 1, 100),
        "Plays of each variation. With two or more, luck of play is told apart.",
      ),
      beams: field("Beam width", number("beams", 1, 1, 16), "1 is greedy decoding."),
      repair: field(
        "Repair",
        choice("repair", [
          ["executor", "by the executor"],
          ["similarity", "by similarity, as published"],
          ["off", "off"],
        ]),
      ),
      rules: field(
        "Rules of play",
        choice("rules", [
          ["guided", "Waymark's rules (guided)"],
          ["published", "none, as published"],
        ]),
      ),
      seed: field("Seed", number("seed", 0, 0, 2 ** 31 - 1)),
    };
    this.takeAgent();
    this.fields.agent.control.addEventListener("change", () => this.takeAgent());
    rest.append(...["beams", "repair", "rules", "seed"].map((name) => this.fields[name].element));
    this.tasks = this.chooser();
    this.wrong = el("p", { class: "wrong", role: "alert" });
    this.size = el("p", { class: "note", role: "status" });
    this.element = el(
      "form",
      { class: "fields", submit: (event) => this.submit(event), input: () => this.count() },
      el("h1", {}, "New evaluation"),
      ["protocol", "agent"].map((name) => this.fields[name].element),
      this.tasks.element,
      ["variations", "repeats"].map((name) => this.fields[name].element),
      rest,
      this.size,
      this.wrong,
      el(
        "p",
        { class: "actions" },
        el("button", { type: "submit", class: "main" }, "Start"),
        el("a", { class: "button", href: "#/" }, "Back"),
      ),
    );
    this.rest = rest;
    this.count();
  }

  takeAgent() {
    const agent = this.options.agents[this.fields.agent.control.value];
    this.fields.beams.control.value = agent.beams;
    this.fields.repair.control.value = agent.repair ? agent.repair_by : "off";
    this.fields.rules.control.value = agent.policy;
  }

  /** Task types by group, all of them at first. */
  chooser() {
    const boxes = new Map();
    const groups = this.options.groups.map((group) => {
      const members = this.options.tasks.filter((task) => task.group === group);
      const all = el("input", {
        type: "checkbox",
        change: () => members.forEach((task) => (boxes.get(task.id).checked = all.checked)),
      });
      return el(
        "fieldset",
        {},
        el("legend", {}, el("label", {}, all, ` ${group}`)),
        members.map((task) => {
          const box = el("input", { type: "checkbox", name: "task", value: task.id });
          boxes.set(task.id, box);
          return el("label", { class: "choice" }, box, ` ${task.id} ${task.name}`);
        }),
      );
    });
    const wrong = el("span", { class: "wrong", role: "alert" });
    const complain = (message) => (wrong.textContent = message ?? "");
    const chosen = () => [...boxes.values()].filter((box) => box.checked).map((box) => box.value);
    const element = el(
      "details",
      { class: "tasks" },
      el("summary", {}, "Tasks"),
      el("p", { class: "hint" }, "None chosen means all."),
      groups,
      wrong,
    );
    return { element, complain, chosen };
  }

  request() {
    const value = (name) => this.fields[name].control.value;
    const tasks = this.tasks.chosen();
    const repair = value("repair");
    return {
      protocol: value("protocol"),
      tasks: tasks.length ? tasks : null,
      variations: variations(value("variations")),
      repeats: Number(value("repeats")),
      seed: Number(value("seed")),
      agent: {
        ...this.options.agents[value("agent")],
        beams: Number(value("beams")),
        policy: value("rules"),
        repair: repair !== "off",
        ...(repair !== "off" && { repair_by: repair }),
      },
    };
  }

  count() {
    const chosen = this.tasks.chosen().length || this.options.tasks.length;
    this.tasks.element.firstElementChild.textContent = `Tasks: ${this.tasks.chosen().length ? count(chosen, "task type") : `all ${chosen}`}`;
  }

  async submit(event) {
    event.preventDefault();
    const complainers = { ...this.fields, tasks: this.tasks };
    Object.values(complainers).forEach((one) => one.complain(null));
    this.wrong.textContent = "";
    let request;
    try {
      request = this.request();
    } catch (error) {
      this.fields.variations.complain(error.message);
      this.fields.variations.control.focus();
      return;
    }
    const button = this.element.querySelector("button[type=submit]");
    button.disabled = true;
    try {
      const { id } = await api.submit(request);
      location.hash = `#/evaluations/${encodeURIComponent(id)}`;
    } catch (error) {
      this.refuse(error, complainers);
    }
    button.disabled = false;
  }

  refuse(error, complainers) {
    const names = { "agent.policy": "rules", "agent.beams": "beams", "agent.repair_by": "repair", policy: "rules" };
    const problems =
      error instanceof Refused && error.errors.length ? error.errors : [{ field: "", message: error.message }];
    let first = true;
    for (const problem of problems) {
      const path = problem.field.replace(/^body\./, "");
      const name = names[path] ?? path.split(".")[0];
      const place = complainers[name];
      if (!place) {
        this.wrong.textContent = `${problem.field ? `${problem.field}: ` : ""}${problem.message || error.message}`;
        continue;
      }
      if (["rules", "beams", "repair", "seed"].includes(name)) this.rest.open = true;
      if (name === "tasks") this.tasks.element.open = true;
      place.complain(problem.message || error.message);
      if (first) place.control?.focus();
      first = false;
    }
  }
}

/** `0-3, 7` as numbers; null for an empty text. */
function variations(text) {
  const parts = text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);
  if (!parts.length) return null;
  return parts.flatMap((part) => {
    const [, low, , high] = /^(\d{1,6})(\s*-\s*(\d{1,6}))?$/.exec(part) ?? [];
    if (low === undefined || Number(high ?? low) < Number(low) || Number(high ?? low) - Number(low) > 2_000) {
      throw new Error(`Variations are numbers or ranges such as 0-3; got “${part}”.`);
    }
    return Array.from({ length: Number(high ?? low) - Number(low) + 1 }, (_, place) => Number(low) + place);
  });
}
