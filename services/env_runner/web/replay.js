// The replay of an episode, turn by turn.

import { scoreLine } from "./chart.js";
import { changed } from "./text_difference.js";
import { el, setText } from "./dom.js";
import { bySubgoal, marks } from "./turns.js";
import { alternatives, prompts } from "./turn_explanation.js";
import { count, duration, gainBadge, minus, probability, signed } from "./format_values.js";

const AUTOPLAY = 900; // ms between two turns

export class Replay {
  constructor(result, id, world, signal) {
    const turns = result.trajectory;
    this.result = result;
    this.id = id;
    this.world = world;
    this.signal = signal;
    this.turns = turns;
    this.moved = () => {};
    this.place = 0;
    this.groups = bySubgoal(turns);
    /** The place of the last turn that raised the score; -1 for none. */
    this.gain = turns.findLastIndex((turn) => turn.reward > 0);
    const { chart, mark } = scoreLine(turns, this.groups, world.solved_score, (place) => this.go(place));
    this.mark = mark;
    this.slider = el("input", {
      type: "range",
      min: 1,
      max: turns.length,
      "aria-label": "Turn",
      input: () => this.go(this.slider.value - 1),
    });
    this.where = el("span", { class: "where", role: "status" });
    this.back = this.button("Previous turn", "←", () => this.go(this.place - 1));
    this.forward = this.button("Next turn", "→", () => this.go(this.place + 1));
    this.auto = el("button", { type: "button", "aria-pressed": "false", click: () => this.autoplay() }, "Play");
    this.last = el("button", { type: "button", disabled: this.gain < 0, click: () => this.go(this.gain) }, "Last gain");
    this.copy = el("button", { type: "button", click: () => this.copyLink() }, "Copy link");
    this.detail = el("section", { class: "detail", "aria-label": "The turn" });
    this.buttons = [];
    this.list = el(
      "ol",
      { class: "turns", "aria-label": "Turns by sub-goal" },
      this.groups.map((group) => this.group(group)),
    );
    this.player = el(
      "section",
      { class: "play", "aria-label": "Replay" },
      chart,
      el(
        "div",
        { class: "controls" },
        this.back,
        this.slider,
        this.forward,
        this.auto,
        this.last,
        this.where,
        this.copy,
      ),
      el(
        "p",
        { class: "note" },
        "Keys: ← and → step, Home and End go to the ends, Space plays. Bands in the chart are sub-goals; ",
        "a mark at its foot is a repaired action.",
      ),
    );
    this.elements = [this.player, el("div", { class: "replay" }, this.list, this.detail)];
  }

  button(label, sign, click) {
    return el("button", { type: "button", "aria-label": label, title: label, click }, sign);
  }

  group({ subgoal, first, turns, ended }) {
    const actions = turns.filter((turn) => turn.action !== null).length;
    const gained = turns.reduce((sum, turn) => sum + turn.reward, 0);
    const facts = [count(actions, "action"), duration(turns.reduce((sum, turn) => sum + turn.seconds, 0))];
    if (gained) facts.push(`${signed(gained)} points`);
    if (subgoal !== null && !ended) facts.push("not ended by the executor");
    return el(
      "li",
      { class: "group" },
      el("h3", {}, subgoal ?? "Without sub-goals"),
      el("p", { class: "note" }, facts.join(" · ")),
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
      gainBadge(turn.reward),
    );
    this.buttons.push(button);
    return button;
  }

  press(event) {
    const typing = event.target.closest("input, select, textarea, dialog");
    if (typing || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const places = { ArrowLeft: this.place - 1, ArrowRight: this.place + 1, Home: 0, End: this.turns.length - 1 };
    if (event.key === " " && !event.target.closest("button, a, summary")) {
      event.preventDefault();
      this.autoplay();
    }
    if (event.key in places) {
      event.preventDefault();
      this.go(places[event.key]);
    }
  }

  autoplay() {
    if (this.timer) {
      this.pause();
      return;
    }
    if (this.place === this.turns.length - 1) this.go(0);
    this.timer = setInterval(() => {
      if (this.signal.aborted || this.place === this.turns.length - 1) this.pause();
      else this.go(this.place + 1);
    }, AUTOPLAY);
    setText(this.auto, "Pause");
    this.auto.setAttribute("aria-pressed", "true");
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    setText(this.auto, "Play");
    this.auto.setAttribute("aria-pressed", "false");
  }

  async copyLink() {
    try {
      await navigator.clipboard.writeText(location.href);
      setText(this.copy, "Copied");
    } catch {
      setText(this.copy, "Copy the address above");
    }
    setTimeout(() => setText(this.copy, "Copy link"), 3_000);
  }

  /** Scroll the replay into sight. */
  show() {
    this.player.scrollIntoView();
  }

  /** Show the turn at a place, from 0; places outside the episode mean its first or last turn. */
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
    setText(this.where, `Turn ${turn.turn} of ${this.turns.length}, score ${minus(turn.score)}`);
    this.detail.replaceChildren(...this.describe(turn));
    this.moved(turn.turn);
  }

  describe(turn) {
    const before = this.turns[this.place - 1] ?? this.result.opening ?? {};
    return [
      el("h2", {}, turn.action ?? "The executor ended the sub-goal", " ", marks(turn)),
      this.rules(turn),
      alternatives("Sub-goals that the controller considered", turn.subgoals, turn.subgoal),
      alternatives("Actions that the executor considered", turn.actions, turn.action),
      prompts(this.id, this.result.id, turn.turn),
      el(
        "dl",
        {},
        this.subgoalRow(turn),
        proposedRow(turn),
        row(
          "Score",
          minus(turn.score),
          el("span", { class: "note" }, turn.reward ? ` ${signed(turn.reward)} by this action` : " unchanged"),
        ),
        turn.logprob !== null &&
          row(
            "Probability",
            probability(turn.logprob),
            el(
              "span",
              { class: "note" },
              ` of the executor's first answer (log-probability ${turn.logprob.toFixed(3)})`,
            ),
          ),
        turn.observation && row("Observation", el("pre", {}, turn.observation.trim())),
        turn.look && row("Look", changed(before.look ?? "", turn.look)),
        turn.inventory && row("Inventory", changed(before.inventory ?? "", turn.inventory)),
        row(
          "Moves so far",
          `${turn.moves}`,
          el("span", { class: "note" }, `; this turn took ${duration(turn.seconds)}`),
        ),
      ),
    ].filter(Boolean);
  }

  rules(turn) {
    if (!turn.rules?.length) return null;
    return el(
      "div",
      { class: "rules" },
      el("p", {}, "Rules of play that acted in this turn:"),
      el(
        "ul",
        {},
        turn.rules.map((rule) =>
          el(
            "li",
            {},
            el("span", { class: "badge repaired" }, rule),
            el("span", { class: "note" }, ` ${this.world.ruleDescription(rule)}`),
          ),
        ),
      ),
    );
  }

  subgoalRow(turn) {
    if (turn.subgoal === null) return row("Sub-goal", "none");
    const group = this.groups.findLast((candidate) => candidate.first <= this.place);
    const nth = this.place - group.first + 1;
    const called = turn.controller_called ? "; the controller was asked in this turn" : "";
    const note = ` turn ${nth} of ${group.turns.length} under this sub-goal${called}`;
    return row("Sub-goal", turn.subgoal, el("span", { class: "note" }, note));
  }
}

const row = (label, ...value) => [el("dt", {}, label), el("dd", {}, ...value)];

/** What the executor proposed, where something else was done. */
function proposedRow(turn) {
  const replaced = turn.action !== null && turn.proposed !== null && turn.proposed !== turn.action;
  if (!turn.repaired && !replaced) return null;
  const why = turn.repaired ? " was replaced by a valid action" : " was replaced by a rule of play";
  return row("Proposed", el("s", {}, turn.proposed ?? "sub-goal ended"), el("span", { class: "note" }, why));
}
