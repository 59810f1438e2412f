// Page 3: one episode, replayed turn by turn.

import { api } from "./api.js";
import { scoreLine } from "./chart.js";
import { count, el, minus, played, points, say, seconds, signed } from "./dom.js";
import { outcome } from "./evaluation.js";

export async function episode({ main, place, signal, query }, id, name) {
  const result = await api.episode(id, name, signal);
  const above = `#/evaluations/${encodeURIComponent(id)}`;
  place(
    [
      ["Evaluations", "#/"],
      [id, above],
    ],
    `${result.task}, variation ${played(result.variation, result.repeat)}`,
  );
  const heading = el(
    "section",
    { class: "head" },
    el(
      "h1",
      {},
      `Task ${result.task}, variation ${played(result.variation, result.repeat)} `,
      el("span", { class: "score" }, `${minus(result.raw_score)} points`),
    ),
    result.opening && el("p", {}, result.opening.task),
    el("p", { class: "what" }, outcome(result)),
    el(
      "p",
      { class: "note" },
      [
        count(result.actions, "action"),
        count(result.moves, "move"),
        count(result.turns, "turn"),
        count(result.model_calls, "model call"),
        count(result.tokens, "token"),
        `${result.repaired} repaired`,
        seconds(result.seconds),
      ].join(" · "),
    ),
  );
  if (result.trajectory.length === 0) {
    main.replaceChildren(heading, el("p", { class: "empty" }, "This episode ended before its first turn."));
    return;
  }
  const replay = new Replay(result.trajectory);
  main.replaceChildren(heading, ...replay.elements);
  const wanted = result.trajectory.findIndex((turn) => `${turn.turn}` === query.get("turn"));
  replay.go(Math.max(0, wanted));
  // From now on only: who has gone back while this page was loading has another address already.
  replay.moved = (turn) => {
    history.replaceState(null, "", `${above}/episodes/${encodeURIComponent(name)}?turn=${turn}`);
  };
  document.addEventListener("keydown", (event) => replay.press(event), { signal });
}

/** Turns in a row under one sub-goal: it ends with the turn in which the executor says so, or with another. */
export function bySubgoal(turns) {
  const groups = [];
  turns.forEach((turn, place) => {
    const last = groups.at(-1);
    if (last === undefined || last.ended || last.subgoal !== turn.subgoal) {
      groups.push({ subgoal: turn.subgoal, first: place, turns: [], ended: false });
    }
    const group = groups.at(-1);
    group.turns.push(turn);
    group.ended = turn.action === null;
  });
  return groups;
}

class Replay {
  constructor(turns) {
    this.turns = turns;
    this.moved = () => {};
    this.place = 0;
    this.groups = bySubgoal(turns);
    const { drawing, mark } = scoreLine(turns, this.groups, (place) => this.go(place));
    this.mark = mark;
    this.slider = el("input", {
      type: "range",
      min: 1,
      max: turns.length,
      "aria-label": "Turn",
      input: () => this.go(this.slider.value - 1),
    });
    this.where = el("span", { class: "where", role: "status" });
    this.back = this.button("Back", "←", () => this.go(this.place - 1));
    this.forward = this.button("Forward", "→", () => this.go(this.place + 1));
    this.detail = el("section", { class: "detail", "aria-label": "The turn" });
    this.buttons = [];
    this.list = el(
      "ol",
      { class: "turns", "aria-label": "Turns by sub-goal" },
      this.groups.map((group) => this.group(group)),
    );
    const low = Math.min(0, ...turns.map((turn) => turn.score));
    this.elements = [
      el(
        "section",
        { class: "play" },
        el(
          "div",
          { class: "chart" },
          el("span", { class: "axis" }, el("span", {}, "100"), el("span", {}, minus(low))),
          drawing,
        ),
        el("div", { class: "controls" }, this.back, this.slider, this.forward, this.where),
        el(
          "p",
          { class: "note" },
          "Arrow keys ← and → step, Home and End go to the ends. Bands are sub-goals; a mark at the foot is a repaired action.",
        ),
      ),
      el("div", { class: "replay" }, this.list, this.detail),
    ];
  }

  button(words, sign, click) {
    return el("button", { type: "button", "aria-label": words, title: words, click }, sign);
  }

  group({ subgoal, first, turns, ended }) {
    const actions = turns.filter((turn) => turn.action !== null).length;
    const gained = turns.reduce((sum, turn) => sum + turn.reward, 0);
    const lasted = [count(actions, "action"), seconds(turns.reduce((sum, turn) => sum + turn.seconds, 0))];
    if (gained) lasted.push(`${signed(gained)} points`);
    if (subgoal !== null && !ended) lasted.push("not ended by the executor");
    return el(
      "li",
      { class: "group" },
      el("h3", {}, subgoal ?? "Without sub-goals"),
      el("p", { class: "note" }, lasted.join(" · ")),
      el(
        "ol",
        {},
        turns.map((turn, offset) => el("li", {}, this.step(turn, first + offset))),
      ),
    );
  }

  step(turn, place) {
    const button = el(
      "button",
      { type: "button", class: "step", click: () => this.go(place) },
      el("span", { class: "number" }, turn.turn),
      el("span", { class: turn.action === null ? "end" : "action" }, turn.action ?? "sub-goal ended"),
      marks(turn),
      turn.reward !== 0 && el("span", { class: turn.reward > 0 ? "badge gain" : "badge loss" }, signed(turn.reward)),
    );
    this.buttons.push(button);
    return button;
  }

  press(event) {
    const typing = event.target.closest("input, select, textarea");
    if (typing || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const places = { ArrowLeft: this.place - 1, ArrowRight: this.place + 1, Home: 0, End: this.turns.length - 1 };
    if (event.key in places) {
      event.preventDefault();
      this.go(places[event.key]);
    }
  }

  go(wanted) {
    const place = Math.min(this.turns.length - 1, Math.max(0, wanted));
    const turn = this.turns[place];
    this.buttons[this.place].removeAttribute("aria-current");
    this.place = place;
    const current = this.buttons[place];
    current.setAttribute("aria-current", "step");
    // Not scrollIntoView: that would move the whole page as well.
    const { top, bottom } = this.list.getBoundingClientRect();
    const row = current.getBoundingClientRect();
    if (row.top < top) this.list.scrollTop -= top - row.top + row.height;
    if (row.bottom > bottom) this.list.scrollTop += row.bottom - bottom + row.height;
    this.mark(place);
    this.slider.value = place + 1;
    this.back.disabled = place === 0;
    this.forward.disabled = place === this.turns.length - 1;
    say(this.where, `Turn ${turn.turn} of ${this.turns.length}, score ${minus(turn.score)}`);
    this.detail.replaceChildren(...this.describe(turn));
    this.moved(turn.turn);
  }

  describe(turn) {
    const group = this.groups.findLast((one) => one.first <= this.place);
    const nth = this.place - group.first + 1;
    const said = turn.proposed ?? "sub-goal ended";
    const row = (words, ...value) => [el("dt", {}, words), el("dd", {}, ...value)];
    const text = (words, value) => (value ? row(words, el("pre", {}, value.trim())) : []);
    return [
      el("h2", {}, turn.action ?? "The executor ended the sub-goal", " ", marks(turn)),
      el(
        "dl",
        {},
        row(
          "Sub-goal",
          turn.subgoal ?? "none",
          turn.subgoal === null
            ? ""
            : el(
                "span",
                { class: "note" },
                ` turn ${nth} of ${group.turns.length} under it${turn.controller_called ? "; the controller was asked here" : ""}`,
              ),
        ),
        turn.repaired
          ? row("Proposed", el("s", {}, said), el("span", { class: "note" }, " replaced by one that is valid here"))
          : [],
        row(
          "Score",
          minus(turn.score),
          el("span", { class: "note" }, turn.reward ? ` ${signed(turn.reward)} by this action` : " unchanged"),
        ),
        turn.logprob === null
          ? []
          : row(
              "Probability",
              `${probability(turn.logprob)}`,
              el(
                "span",
                { class: "note" },
                ` log-probability ${turn.logprob.toFixed(3)} of what the executor said first`,
              ),
            ),
        text("Observation", turn.observation),
        text("Look", turn.look),
        text("Inventory", turn.inventory),
        row("Moves", `${turn.moves}`, el("span", { class: "note" }, ` after ${seconds(turn.seconds)} for this turn`)),
      ),
    ];
  }
}

const probability = (logprob) => `${points(100 * Math.exp(logprob))}%`;

function marks(turn) {
  return [
    turn.repaired && el("span", { class: "badge repaired" }, "repaired"),
    !turn.known && el("span", { class: "badge unknown" }, "unknown"),
    turn.ambiguous && el("span", { class: "badge unknown" }, "ambiguous"),
  ];
}
