// One episode, replayed turn by turn.

import { api } from "./api.js";
import { scoreLine } from "./chart.js";
import { changed } from "./difference.js";
import { count, el, minus, played, points, say, seconds, signed } from "./dom.js";
import { outcome } from "./episodes.js";
import { oracle } from "./play.js";
import { alternatives, prompts } from "./why.js";

const AUTOPLAY = 900; // ms between two turns

export async function episode({ main, place, signal, query }, id, name) {
  const [result, entries, options, status] = await Promise.all([
    api.episode(id, name, signal),
    api.episodes(id, signal),
    api.options(signal),
    api.evaluation(id, signal),
  ]);
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
    neighbours(entries, name, above, options.can_play && [result, status.request.simplifications, signal]),
  );
  if (result.trajectory.length === 0) {
    main.replaceChildren(heading, el("p", { class: "empty" }, "This episode ended before its first turn."));
    return;
  }
  const replay = new Replay(result, id, signal);
  main.replaceChildren(heading, ...replay.elements);
  const wanted = result.trajectory.findIndex((turn) => `${turn.turn}` === query.get("turn"));
  replay.go(Math.max(0, wanted));
  // From now on only: who has gone back while this page was loading has another address already.
  replay.moved = (turn) => {
    history.replaceState(null, "", `${above}/episodes/${encodeURIComponent(name)}?turn=${turn}`);
  };
  document.addEventListener("keydown", (event) => replay.press(event), { signal });
}

/** Links to the previous and the next episode with a result, and to this one as JSON. */
function neighbours(entries, name, above, solvable) {
  const done = entries.filter((entry) => entry.result !== null);
  const here = done.findIndex((entry) => entry.id === name);
  const link = (entry, words) =>
    entry &&
    el(
      "a",
      { class: "button", href: `${above}/episodes/${encodeURIComponent(entry.id)}` },
      `${words}: ${entry.task}/${played(entry.variation, entry.repeat)}`,
    );
  const raw = async () => {
    const whole = await api.episode(above.split("/").at(-1), name, new AbortController().signal);
    const address = URL.createObjectURL(new Blob([JSON.stringify(whole, null, 1)], { type: "application/json" }));
    const anchor = el("a", { href: address, download: `${name}.json` });
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  };
  const path = el("div", { class: "oracle" });
  const solve = async () => {
    const [{ task, variation }, simplifications, signal] = solvable;
    path.replaceChildren(
      el("p", { class: "note", role: "status" }, "A worker asks the environment for its solution …"),
    );
    try {
      const actions = await oracle({ task, variation, simplifications }, signal);
      path.replaceChildren(
        el("h2", {}, `The environment's own solution: ${count(actions.length, "action")}`),
        el(
          "ol",
          { tabindex: "0" },
          actions.map((action) => el("li", {}, action)),
        ),
      );
    } catch (error) {
      path.replaceChildren(el("p", { class: "wrong", role: "alert" }, error.message));
    }
  };
  return el(
    "div",
    {},
    el(
      "p",
      { class: "actions" },
      link(done[here - 1], "Previous"),
      link(done[here + 1], "Next"),
      el("button", { type: "button", click: raw }, "Save as JSON"),
      solvable && el("button", { type: "button", click: solve }, "Show the oracle path"),
      solvable &&
        el(
          "a",
          { class: "button", href: `#/play?task=${solvable[0].task}&variation=${solvable[0].variation}` },
          "Play this variation",
        ),
    ),
    path,
  );
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
  constructor(result, id, signal) {
    const turns = result.trajectory;
    this.result = result;
    this.id = id;
    this.signal = signal;
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
    this.auto = el("button", { type: "button", "aria-pressed": "false", click: () => this.autoplay() }, "Play");
    this.gain = turns.findLastIndex((turn) => turn.reward > 0);
    this.last = el("button", { type: "button", disabled: this.gain < 0, click: () => this.go(this.gain) }, "Last gain");
    this.copy = el("button", { type: "button", click: () => this.copyLink() }, "Copy link");
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
          "Arrow keys ← and → step, Home and End go to the ends, Space plays. Bands are sub-goals; a mark at the foot is a repaired action.",
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
    say(this.auto, "Pause");
    this.auto.setAttribute("aria-pressed", "true");
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    say(this.auto, "Play");
    this.auto.setAttribute("aria-pressed", "false");
  }

  async copyLink() {
    try {
      await navigator.clipboard.writeText(location.href);
      say(this.copy, "Copied");
    } catch {
      say(this.copy, "Copy the address above");
    }
    setTimeout(() => say(this.copy, "Copy link"), 3_000);
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
    const before = this.turns[this.place - 1] ?? this.result.opening ?? {};
    const since = (words, value, old) => (value ? row(words, changed(old ?? "", value)) : []);
    return [
      el("h2", {}, turn.action ?? "The executor ended the sub-goal", " ", marks(turn)),
      turn.rules?.length
        ? el(
            "p",
            { class: "rules" },
            "Rules of play that acted here: ",
            turn.rules.map((rule) => [el("span", { class: "badge repaired" }, rule), " "]).flat(),
          )
        : "",
      alternatives("The controller's sub-goals", turn.subgoals, turn.subgoal) ?? "",
      alternatives("The executor's actions", turn.actions, turn.action) ?? "",
      prompts(this.id, this.result.id, turn.turn),
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
        turn.repaired || (turn.action !== null && turn.proposed !== null && turn.proposed !== turn.action)
          ? row(
              "Proposed",
              el("s", {}, said),
              el(
                "span",
                { class: "note" },
                turn.repaired ? " replaced by one that is valid here" : " replaced by a rule of play",
              ),
            )
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
        since("Look", turn.look, before.look),
        since("Inventory", turn.inventory, before.inventory),
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
    turn.rules?.length > 0 && el("span", { class: "badge repaired", title: turn.rules.join(", ") }, "rule"),
    turn.ambiguous && el("span", { class: "badge unknown" }, "ambiguous"),
  ];
}
