// Playing a variation by hand with the agent's help.

import { api, passing, Refused, sleep } from "./api.js";
import { changed } from "./difference.js";
import { count, el, field, minus, points, say, signed } from "./dom.js";

const LOOK_EVERY = 300; // ms while the session is busy
const LOOK_SELDOM = 2_000;
const MOST_VALID = 60; // valid actions shown at once

/** The form that begins a session. */
export async function play({ main, place, signal, query }) {
  place([["Evaluations", "#/"]], "Play along");
  const options = await api.options(signal);
  if (!options.can_play) {
    main.replaceChildren(
      el("div", { class: "empty" }, el("p", {}, "Only run folders are shown here: nothing can be played.")),
    );
    return;
  }
  const select = (name, entries) =>
    el(
      "select",
      { name },
      entries.map(([key, words]) => el("option", { value: key }, words)),
    );
  const task = field(
    "Task",
    select(
      "task",
      options.tasks.map((one) => [one.id, `${one.id} ${one.name}`]),
    ),
  );
  const variation = field(
    "Variation",
    el("input", { type: "number", name: "variation", min: 0, value: query.get("variation") ?? 0, required: true }),
  );
  const helpers = Object.entries(options.agents).filter(([, one]) => ["controller", "none"].includes(one.subgoals));
  const agent = field(
    "Who helps",
    select(
      "agent",
      helpers.map(([name]) => [name, name]),
    ),
  );
  if (query.get("task")) task.control.value = query.get("task");
  const bound = () => {
    const { variations, splits } = options.tasks.find((one) => one.id === task.control.value);
    variation.control.max = variations - 1;
    variation.element.querySelector(".hint").textContent =
      `0 to ${variations - 1}; test variations begin at ${splits.test[0]}.`;
  };
  task.control.addEventListener("change", bound);
  bound();
  const wrong = el("p", { class: "wrong", role: "alert" });
  const submit = async (event) => {
    event.preventDefault();
    const fields = { task, variation, variations: variation, tasks: task, agent };
    Object.values(fields).forEach((one) => one.complain(null));
    wrong.textContent = "";
    try {
      const body = {
        task: task.control.value,
        variation: Number(variation.control.value),
        agent: options.agents[agent.control.value],
      };
      const { id } = await api.play.begin(body);
      location.hash = `#/play/${id}`;
    } catch (error) {
      const problems =
        error instanceof Refused && error.errors.length ? error.errors : [{ field: "", message: error.message }];
      for (const problem of problems) {
        const known = fields[problem.field.replace(/^body\./, "").split(".")[0]];
        if (known) known.complain(problem.message || error.message);
        else wrong.textContent = error.message;
      }
    }
  };
  main.replaceChildren(
    el("h1", {}, "Play along"),
    el(
      "p",
      { class: "what" },
      "You decide; the agent says at each turn what it would do. The session is saved as a run.",
    ),
    el(
      "form",
      { class: "fields", submit },
      [task, variation, agent].map((one) => one.element),
      wrong,
      el("p", { class: "actions" }, el("button", { type: "submit", class: "main" }, "Begin")),
    ),
  );
}

/** A session under way. */
export async function session({ main, place, notify, signal }, id) {
  const table = new Table(id);
  let shown = null;
  for (;;) {
    let view = shown;
    try {
      view = await api.play.look(id, signal);
      notify(null);
    } catch (error) {
      if (shown === null || !passing(error)) throw error;
      notify("The env-runner does not answer; this page goes on asking.");
    }
    const { seconds_left, ...rest } = view;
    if (shown === null)
      place(
        [
          ["Evaluations", "#/"],
          ["Play along", "#/play"],
        ],
        `${view.task}, variation ${view.variation}`,
      );
    if (shown === null || JSON.stringify(rest) !== table.seen) {
      table.seen = JSON.stringify(rest);
      table.show(view, main);
    }
    table.time(seconds_left);
    shown = view;
    if (view.state === "ended") return;
    await Promise.race([sleep(view.state === "ready" ? LOOK_SELDOM : LOOK_EVERY, signal), table.pressed()]);
  }
}

class Table {
  constructor(id) {
    this.id = id;
    this.view = null;
    this.before = null;
    this.clock = el("span", { class: "note" });
  }

  pressed() {
    return new Promise((resolve) => (this.heard = resolve));
  }

  time(seconds) {
    say(this.clock, seconds ? `${Math.floor(seconds / 60)} min ${seconds % 60} s left` : "");
  }

  async send(kind, text) {
    if (this.busy) return;
    this.busy = true;
    this.root?.setAttribute("aria-busy", "true");
    try {
      if (kind === "end") await api.play.end(this.id);
      else await api.play.turn(this.id, { kind, text, turn: this.view.turn });
    } catch (error) {
      this.busy = false;
      say(this.problem, error.message);
    }
    this.heard?.();
  }

  show(view, main) {
    this.problem ??= el("p", { class: "wrong", role: "alert" });
    say(this.problem, view.problem ?? "");
    const words = {
      waiting: "Waiting for a worker …",
      opening: "The environment is starting …",
      thinking: "The agent is thinking …",
    };
    const heading = [
      el(
        "h1",
        {},
        `Task ${view.task}, variation ${view.variation} `,
        el("span", { class: "score" }, `${minus(view.score)} points`),
      ),
      view.description && el("p", {}, view.description),
      el(
        "p",
        { class: "what", role: "status", id: "play-state" },
        words[view.state] ??
          (view.state === "ended" ? "The session has ended." : `Turn ${view.turn}. Choose what to do.`),
        " ",
        this.clock,
      ),
      this.problem,
    ];
    if (view.state === "ended") {
      main.replaceChildren(
        ...heading.filter(Boolean),
        el(
          "p",
          { class: "actions" },
          view.run &&
            el(
              "a",
              { class: "button main", href: `#/evaluations/${encodeURIComponent(view.run)}` },
              "Open the saved run",
            ),
          el("a", { class: "button", href: "#/play" }, "Play again"),
        ),
        this.history(view),
      );
      return;
    }
    if (view.state !== "ready") {
      if (!this.root?.isConnected) main.replaceChildren(...heading.filter(Boolean));
      else say(main.querySelector("#play-state"), words[view.state]);
      return;
    }
    this.busy = false;
    if (this.view?.turn !== view.turn) this.before = this.view ?? view; // what was seen in the turn before
    const old = this.before;
    this.view = view;
    const needsGoal = view.agent.subgoals !== "none" && view.subgoal === null;
    this.root = el(
      "div",
      { class: "table" },
      el(
        "section",
        { "aria-label": "What to do" },
        view.agent.subgoals !== "none" && el("h2", {}, needsGoal ? "Choose a sub-goal" : `Sub-goal: ${view.subgoal}`),
        view.agent.subgoals !== "none" &&
          this.offers("subgoal", needsGoal ? view.subgoals : [], "Your own sub-goal", needsGoal),
        !needsGoal && el("h2", {}, "Choose an action"),
        !needsGoal && this.offers("action", view.actions, "Your own action", true),
        !needsGoal && this.valid(view.valid),
        !needsGoal && view.subgoal !== null && this.otherGoal(view),
        el(
          "p",
          { class: "actions" },
          el("button", { type: "button", click: () => this.send("end") }, "End the session"),
        ),
      ),
      el(
        "section",
        { class: "detail", "aria-label": "What you see" },
        el(
          "dl",
          {},
          [
            ["Observation", el("pre", {}, view.observation.trim())],
            ["Look", changed(old.look, view.look)],
            ["Inventory", changed(old.inventory, view.inventory)],
          ].flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]),
        ),
        this.history(view),
      ),
    );
    main.replaceChildren(...heading.filter(Boolean), this.root);
  }

  /** What the agent would do, best first, and a field for something else. */
  offers(kind, list, words, typed) {
    const field = el("input", {
      name: kind,
      maxlength: 500,
      "aria-label": words,
      placeholder: words,
      autocomplete: "off",
    });
    const submit = (event) => {
      event.preventDefault();
      if (field.value.trim()) this.send(kind, field.value.trim());
    };
    return el(
      "div",
      { class: "offers" },
      el(
        "ol",
        {},
        list.map(([text, logprob]) =>
          el(
            "li",
            {},
            el(
              "button",
              {
                type: "button",
                class: `offer ${kind}`,
                click: () => (text === null ? this.send("end_subgoal", null) : this.send(kind, text)),
              },
              text ?? "End the sub-goal",
              el("span", { class: "note" }, ` ${points(100 * Math.exp(logprob))}%`),
            ),
          ),
        ),
      ),
      typed && el("form", { submit }, field, el("button", { type: "submit" }, "Do it")),
    );
  }

  otherGoal(view) {
    return el(
      "details",
      {},
      el("summary", {}, "End or change the sub-goal"),
      el("p", {}, el("button", { type: "button", click: () => this.send("end_subgoal", null) }, "End the sub-goal")),
      this.offers("subgoal", view.subgoals, "Another sub-goal", true),
    );
  }

  valid(every) {
    const list = el("ul", { class: "valid" });
    const found = el("span", { class: "note", role: "status" });
    const draw = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const fitting = every.filter((one) => words.every((word) => one.includes(word)));
      say(found, `${fitting.length} of ${count(every.length, "valid action")}`);
      list.replaceChildren(
        ...fitting
          .slice(0, MOST_VALID)
          .map((one) => el("li", {}, el("button", { type: "button", click: () => this.send("action", one) }, one))),
      );
    };
    const search = el("input", {
      type: "search",
      "aria-label": "Search valid actions",
      placeholder: "Search valid actions",
      input: draw,
    });
    draw();
    return el("details", {}, el("summary", {}, "Valid actions"), el("p", { class: "filter" }, search, found), list);
  }

  history(view) {
    return el(
      "ol",
      { class: "history", "aria-label": "Turns so far" },
      [...view.turns]
        .reverse()
        .map((turn) =>
          el(
            "li",
            { value: turn.turn },
            turn.action ?? "sub-goal ended",
            turn.subgoal && el("span", { class: "note" }, ` for ${turn.subgoal}`),
            !turn.known && el("span", { class: "badge unknown" }, "unknown"),
            turn.reward !== 0 &&
              el("span", { class: turn.reward > 0 ? "badge gain" : "badge loss" }, signed(turn.reward)),
          ),
        ),
    );
  }
}

/** The environment's own solution of a variation; asks a worker and waits. */
export async function oracle(request, signal) {
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
