// The form that begins a session of play along: playing a variation by hand with the agent's help.

import { api } from "./api.js";
import { el } from "./dom.js";
import { field, numberInput, onlyShows, select, showProblems } from "./forms.js";

export async function play({ main, place, signal, query }) {
  place([["Evaluations", "#/"]], "Play along");
  const options = await api.options(signal);
  if (!options.can_play) {
    main.replaceChildren(...onlyShows("Play along"));
    return;
  }
  main.replaceChildren(
    el("h1", {}, "Play along"),
    el(
      "p",
      { class: "lead" },
      "Play a variation by hand. At each turn the agent shows what it would do, and you decide. ",
      "The session is saved as a run that you can replay.",
    ),
    form(options, query),
  );
}

function form(options, query) {
  const titles = options.tasks.map((task) => [task.id, task.id === task.name ? task.id : `${task.id} ${task.name}`]);
  const task = field("Task", select("task", titles, query.get("task") ?? options.tasks[0].id));
  const variation = field("Variation", numberInput("variation", query.get("variation") ?? 0, 0));
  const helpers = Object.entries(options.agents).filter(([, agent]) => ["controller", "none"].includes(agent.subgoals));
  const agent = field(
    "Helping agent",
    select(
      "agent",
      helpers.map(([name]) => [name, name]),
    ),
  );
  const limit = () => {
    const chosen = options.tasks.find(({ id }) => id === task.control.value) ?? options.tasks[0];
    variation.control.max = chosen.variations - 1;
    variation.hint(`0 to ${chosen.variations - 1}. Test variations begin at ${chosen.splits.test[0]}.`);
  };
  task.control.addEventListener("change", limit);
  limit();
  const wrong = el("p", { class: "wrong", role: "alert" });
  const fields = { task, variation, variations: variation, tasks: task, agent };
  const submit = async (event) => {
    event.preventDefault();
    Object.values(fields).forEach((control) => control.complain(null));
    wrong.textContent = "";
    try {
      const { id } = await api.play.begin({
        task: task.control.value,
        variation: Number(variation.control.value),
        agent: options.agents[agent.control.value],
      });
      location.hash = `#/play/${id}`;
    } catch (error) {
      showProblems(error, fields, (message) => (wrong.textContent = message));
    }
  };
  return el(
    "form",
    { class: "fields", submit },
    [task, variation, agent].map(({ element }) => element),
    wrong,
    el("p", { class: "actions" }, el("button", { type: "submit", class: "main" }, "Begin")),
  );
}
