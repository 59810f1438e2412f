// The environment's own solution of a variation, shown beside an episode on request.

import { api, sleep } from "./api.js";
import { el } from "./dom.js";
import { count } from "./format_values.js";

const LOOK_EVERY = 300; // ms

/** A button that asks a worker for the solution of an episode's variation and shows it in `target`. */
export function solutionButton({ task, variation }, { simplifications, options }, target, signal) {
  const show = async () => {
    button.disabled = true;
    target.replaceChildren(
      el("p", { class: "note", role: "status" }, "A worker asks the environment for its solution …"),
    );
    try {
      const actions = await solve({ task, variation, options: options ?? simplifications }, signal);
      target.replaceChildren(
        el("h2", {}, `The environment's own solution: ${count(actions.length, "action")}`),
        el(
          "ol",
          { tabindex: "0" },
          actions.map((action) => el("li", {}, action)),
        ),
      );
    } catch (error) {
      target.replaceChildren(el("p", { class: "wrong", role: "alert" }, error.message));
    }
    button.disabled = false;
  };
  const button = el("button", { type: "button", click: show }, "Show the oracle path");
  return button;
}

/** The actions of the solution; waits for a worker. */
async function solve(request, signal) {
  const { id } = await api.play.begin({ ...request, oracle: true });
  for (;;) {
    const view = await api.play.look(id, signal);
    if (view.state === "ended") {
      if (view.problem) throw new Error(view.problem);
      return view.oracle;
    }
    await sleep(LOOK_EVERY, signal);
  }
}
