// A session of play along: what the agent would do, what you do, and what you see.

import { api, isTemporary, sleep } from "./api.js";
import { changed } from "./text_difference.js";
import { el, setText } from "./dom.js";
import { count, gainBadge, minus, probability } from "./format_values.js";

const LOOK_EVERY = 300; // ms while the session is busy
const LOOK_SELDOM = 2_000;
const MOST_VALID = 60; // valid actions shown at once
const STATES = {
  waiting: "Waiting for a worker …",
  opening: "The environment is starting …",
  thinking: "The agent is thinking …",
  ended: "The session has ended.",
};

export async function session({ main, place, notify, signal }, id) {
  const board = new Board(id);
  let shown = null;
  for (;;) {
    let view = shown;
    try {
      view = await api.play.look(id, signal);
      notify(null);
    } catch (error) {
      if (shown === null || !isTemporary(error)) throw error;
      notify("The env-runner does not answer. This page keeps trying.");
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
    if (shown === null || JSON.stringify(rest) !== board.seen) {
      board.seen = JSON.stringify(rest);
      board.show(view, main);
    }
    board.time(seconds_left);
    shown = view;
    if (view.state === "ended") return;
    await Promise.race([sleep(view.state === "ready" ? LOOK_SELDOM : LOOK_EVERY, signal), board.pressed()]);
  }
}

class Board {
  constructor(id) {
    this.id = id;
    this.view = null;
    this.before = null;
    this.clock = el("span", { class: "note" });
  }

  /** Resolves once the reader has decided something. */
  pressed() {
    return new Promise((resolve) => (this.resolve = resolve));
  }

  time(seconds) {
    setText(this.clock, seconds ? `${Math.floor(seconds / 60)} min ${seconds % 60} s left` : "");
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
      setText(this.problem, error.message);
    }
    this.resolve?.();
  }

  show(view, main) {
    this.problem ??= el("p", { class: "wrong", role: "alert" });
    setText(this.problem, view.problem ?? "");
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
        { class: "lead", role: "status", id: "play-state" },
        STATES[view.state] ?? `Turn ${view.turn}. Choose what to do.`,
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
      else setText(main.querySelector("#play-state"), STATES[view.state]);
      return;
    }
    this.busy = false;
    if (this.view?.turn !== view.turn) this.before = this.view ?? view; // what was seen in the turn before
    const before = this.before;
    this.view = view;
    const needsGoal = view.agent.subgoals !== "none" && view.subgoal === null;
    this.root = el(
      "div",
      { class: "board" },
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
            ...(view.observation ? [["Observation", el("pre", {}, view.observation.trim())]] : []),
            ["Look", changed(before.look, view.look)],
            ["Inventory", changed(before.inventory, view.inventory)],
          ].flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]),
        ),
        this.history(view),
      ),
    );
    main.replaceChildren(...heading.filter(Boolean), this.root);
  }

  /** What the agent would do, best first, and a field for something else. */
  offers(kind, list, label, canType) {
    const input = el("input", {
      name: kind,
      maxlength: 500,
      "aria-label": label,
      placeholder: label,
      autocomplete: "off",
    });
    const submit = (event) => {
      event.preventDefault();
      if (input.value.trim()) this.send(kind, input.value.trim());
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
              el("span", { class: "note" }, ` ${probability(logprob)}`),
            ),
          ),
        ),
      ),
      canType && el("form", { submit }, input, el("button", { type: "submit" }, "Do it")),
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

  valid(all) {
    const list = el("ul", { class: "valid" });
    const counted = el("span", { class: "note", role: "status" });
    const draw = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const fitting = all.filter((action) => words.every((word) => action.toLowerCase().includes(word)));
      setText(counted, `${fitting.length} of ${count(all.length, "valid action")}`);
      list.replaceChildren(
        ...fitting
          .slice(0, MOST_VALID)
          .map((action) =>
            el("li", {}, el("button", { type: "button", click: () => this.send("action", action) }, action)),
          ),
      );
    };
    const search = el("input", {
      type: "search",
      "aria-label": "Search valid actions",
      placeholder: "Search valid actions",
      input: draw,
    });
    draw();
    return el("details", {}, el("summary", {}, "Valid actions"), el("p", { class: "filter" }, search, counted), list);
  }

  history(view) {
    if (!view.turns.length) return "";
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
            gainBadge(turn.reward),
          ),
        ),
    );
  }
}
