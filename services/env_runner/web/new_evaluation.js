// The form that starts evaluations. What the service refuses is shown beside the field.

import { api } from "./api.js";
import { el } from "./dom.js";
import { checkboxes, field, numberInput, onlyShows, select, showProblems } from "./forms.js";
import { TaskChooser } from "./task_chooser.js";
import { parseVariations } from "./variations.js";
import { count } from "./format_values.js";
import { worldOf } from "./worlds.js";

const ALIASES = {
  "agent.rules": "rules",
  "agent.policy": "rules",
  "agent.beams": "beams",
  "agent.repair_by": "repair",
};

export async function start({ main, place, signal }) {
  place([["Evaluations", "#/"]], "New evaluation");
  const options = await api.options(signal);
  if (!options.can_play) {
    main.replaceChildren(...onlyShows("New evaluation"));
    return;
  }
  main.replaceChildren(new Form(options, await worldOf(options.world)).element);
}

class Form {
  constructor(options, world) {
    this.options = options;
    this.world = world;
    this.agents = checkboxes(
      "agent",
      el("span", { class: "hidden" }, "Agents"),
      Object.keys(options.agents).map((name) => [name, name, options.agent_descriptions?.[name]]),
      [Object.keys(options.agents)[0]],
    );
    this.tasks = new TaskChooser(world);
    this.fields = this.makeFields();
    this.ruleBoxes = checkboxes(
      "rule",
      "Rules of play",
      world.rules.map((rule) => [rule.name, rule.name, rule.description]),
      world.rules.map((rule) => rule.name),
    );
    this.ruleBoxes.element.hidden = true;
    this.wrong = el("p", { class: "wrong", role: "alert" });
    this.size = el("p", { class: "note", role: "status", id: "size" });
    this.button = el("button", { type: "submit", class: "main" }, "Start");
    this.element = el(
      "form",
      {
        class: "fields",
        submit: (event) => this.submit(event),
        input: () => this.update(),
        change: () => this.update(),
      },
      el("h1", {}, "New evaluation"),
      el("div", { class: "field" }, el("span", {}, "World"), el("span", {}, world.title)),
      this.fields.protocol.element,
      el(
        "div",
        { class: "field tall" },
        el("span", { "aria-hidden": "true" }, "Agents"),
        el(
          "div",
          {},
          this.agents.element,
          el("span", { class: "hint" }, "Several play the same variations, each in a run of its own."),
        ),
      ),
      el("div", { class: "field tall" }, el("span", {}, "Tasks"), this.tasks.element),
      this.fields.variations.element,
      this.fields.repeats.element,
      world.rules.length > 0 && this.fields.rules.element,
      this.ruleBoxes.element,
      el(
        "details",
        {},
        el("summary", {}, "More settings"),
        ["beams", "repair", "seed", "options"].map((name) => this.fields[name].element),
      ),
      this.size,
      this.wrong,
      el("p", { class: "actions" }, this.button, el("a", { class: "button", href: "#/" }, "Cancel")),
    );
    this.update();
  }

  makeFields() {
    const { defaults } = this.options;
    const protocols = this.world.protocols.map((protocol) => [
      protocol.name,
      `${protocol.name}: ${protocol.description}`,
    ]);
    return {
      protocol: field("Protocol", select("protocol", protocols, defaults.protocol)),
      variations: field(
        "Variations",
        el("input", { name: "variations", placeholder: "those of the protocol", autocomplete: "off" }),
        "Numbers or ranges, e.g. 0-3, 7. Empty: those of the protocol.",
      ),
      repeats: field(
        "Repeats",
        numberInput("repeats", 1, 1, 100),
        "Plays of each variation. With two or more, intervals separate the randomness of play.",
      ),
      rules: field(
        "Rules of play",
        select("rules", [
          ["all", "all rules"],
          ["none", "no rules"],
          ["some", "chosen rules"],
        ]),
        "Published agents use no rules, whatever is chosen here.",
      ),
      beams: field(
        "Beam width",
        numberInput("beams", "", 1, 16, false),
        "1 is greedy decoding. Empty: each agent's own.",
      ),
      repair: field(
        "Repair",
        select("repair", [
          ["", "as each agent does by default"],
          ["executor", "by the executor"],
          ["similarity", "by similarity, as published"],
          ["off", "off"],
        ]),
        "How an action is replaced that the environment does not know.",
      ),
      seed: field(
        "Seed",
        numberInput("seed", defaults.seed, 0, 2 ** 31 - 1),
        "For agents that draw sub-goals at random.",
      ),
      options: field(
        "World options",
        el("input", { name: "options", maxlength: 200, autocomplete: "off", placeholder: this.world.default_options }),
        "Empty: the world's own.",
      ),
    };
  }

  value(name) {
    return this.fields[name].control.value;
  }

  /** Show which settings apply, and how many episodes will be played. */
  update() {
    const chooses = this.value("rules") === "some";
    this.ruleBoxes.element.hidden = !chooses;
    this.tasks.update();
    const agents = this.agents.value().length;
    const [tasks, repeats] = [this.tasks.chosenOrAll(), Number(this.value("repeats")) || 0];
    let variations;
    try {
      variations = this.countVariations(tasks);
    } catch {
      this.size.textContent = "";
      return;
    }
    const episodes = variations * repeats * agents;
    const parts = [
      count(variations, "variation"),
      repeats > 1 && count(repeats, "repeat"),
      agents > 1 && count(agents, "agent"),
    ].filter(Boolean);
    this.size.textContent =
      `${count(episodes, "episode")}` +
      `${parts.length > 1 ? ` (${parts.join(" × ")})` : ""} of ${count(tasks.length, "task type")}.`;
  }

  /** How many variations of these tasks are played. Throws for text that names none. */
  countVariations(tasks) {
    const named = parseVariations(this.value("variations"));
    if (named) return tasks.length * new Set(named).size;
    const protocol = this.world.protocols.find(({ name }) => name === this.value("protocol"));
    return tasks.reduce((sum, task) => {
      const [first, end] = task.splits[protocol.split];
      return sum + Math.min(end - first, protocol.variations ?? Infinity);
    }, 0);
  }

  /** One request for each agent. Throws for variations that cannot be read. */
  requests() {
    const tasks = this.tasks.value();
    const common = {
      world: this.world.name,
      protocol: this.value("protocol"),
      tasks: tasks.length ? tasks : null,
      variations: parseVariations(this.value("variations")),
      repeats: Number(this.value("repeats")),
      seed: Number(this.value("seed")),
      options: this.value("options").trim() || null,
    };
    return this.agents.value().map((name) => ({ ...common, agent: this.agent(name) }));
  }

  /** The settings of an agent, with what the form changes. */
  agent(name) {
    const agent = { ...this.options.agents[name] };
    const repair = this.value("repair");
    if (this.value("beams")) agent.beams = Number(this.value("beams"));
    if (repair) agent.repair = repair !== "off";
    if (repair && repair !== "off") agent.repair_by = repair;
    if (agent.policy === "guided" && this.value("rules") !== "all")
      agent.rules = this.value("rules") === "none" ? [] : this.ruleBoxes.value();
    return agent;
  }

  async submit(event) {
    event.preventDefault();
    const fields = { ...this.fields, tasks: this.tasks, agent: this.agents };
    Object.values(fields).forEach((control) => control.complain(null));
    this.wrong.textContent = "";
    let requests;
    try {
      requests = this.requests();
    } catch (error) {
      this.fields.variations.complain(error.message);
      this.fields.variations.control.focus();
      return;
    }
    if (!requests.length) {
      this.agents.complain("Choose at least one agent.");
      this.agents.control.focus();
      return;
    }
    this.button.disabled = true;
    const ids = [];
    try {
      for (const request of requests) ids.push((await api.submit(request)).id);
      location.hash =
        ids.length === 1
          ? `#/evaluations/${encodeURIComponent(ids[0])}`
          : `#/?${ids.map((id) => `chosen=${encodeURIComponent(id)}`).join("&")}`;
    } catch (error) {
      await Promise.allSettled(ids.map((id) => api.cancel(id))); // all or none
      showProblems(error, fields, (message) => (this.wrong.textContent = message), ALIASES);
    }
    this.button.disabled = false;
  }
}
