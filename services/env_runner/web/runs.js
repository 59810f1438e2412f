// The first page: every run, those in Redis and those that are only on disk. Filter, sort, search, choose to compare.

import { api, passing, sleep } from "./api.js";
import { ago, asked, badge, cell, count, el, keep, points, progress, say } from "./dom.js";

const LOOK_EVERY = 2_000; // ms while something is played
const LOOK_SELDOM = 10_000;
const ROWS = 200; // shown at first; more as the reader scrolls down
const COLUMNS = [
  ["State", (one) => one.status.state],
  ["Run", (one) => one.notes.name || one.status.id],
  ["Agent", (one) => one.status.agent_name],
  ["Protocol", (one) => asked(one.status.request)],
  ["Episodes", (one) => one.status.finished, true],
  ["Mean score", (one) => one.status.mean_score ?? -1, true],
  ["Begun", (one) => one.status.created],
];

export async function runs({ main, place, notify, signal, query }) {
  place([], "");
  const options = await api.options(signal);
  const list = new RunList(query, options);
  for (let first = true; ; first = false) {
    let busy = false;
    try {
      if (first || document.visibilityState === "visible") {
        const { items } = await api.runs(signal);
        busy = items.some((one) => ["queued", "running"].includes(one.status.state));
        list.items = items;
        list.draw();
        const shown = items.length ? list.element : nothing(options);
        if (main.firstElementChild !== shown) main.replaceChildren(shown);
      }
      notify(null);
    } catch (error) {
      if (first || !passing(error)) throw error;
      notify("The env-runner does not answer; this page goes on asking.");
    }
    await sleep(busy ? LOOK_EVERY : LOOK_SELDOM / 2, signal);
  }
}

class RunList {
  constructor(query, options) {
    this.items = [];
    this.chosen = new Set();
    this.most = ROWS;
    [this.by, this.down] = [Number(query.get("sort") ?? 6), query.get("up") === null];
    this.search = el("input", {
      type: "search",
      name: "search",
      id: "search",
      value: query.get("search"),
      placeholder: "id, name, agent, task, tag or note",
      input: () => this.choose(),
    });
    const states = ["all", "running", "finished", "cancelled", "on disk only"];
    this.state = el(
      "select",
      { id: "state", change: () => this.choose() },
      states.map((name) => el("option", { value: name }, name)),
    );
    if (states.includes(query.get("state"))) this.state.value = query.get("state");
    this.found = el("span", { class: "note", role: "status" });
    this.compare = el("a", { class: "button", "aria-disabled": "true" }, "Compare");
    this.heads = COLUMNS.map(([words], place) =>
      el("button", { type: "button", class: "sort", click: () => this.sort(place) }, words),
    );
    this.body = el("tbody");
    this.more = el("button", { type: "button", click: () => ((this.most += ROWS), this.draw()) }, "More runs");
    new IntersectionObserver((seen) => seen[0].isIntersecting && this.more.click(), { rootMargin: "1200px" }).observe(
      this.more,
    );
    this.element = el(
      "div",
      {},
      el("h1", {}, "Evaluations"),
      el(
        "p",
        { class: "filter" },
        options.can_play && el("a", { class: "button main", href: "#/new" }, "New evaluation"),
        options.can_play && el("a", { class: "button", href: "#/play" }, "Play along"),
        el("span", { class: "pair wide-pair" }, el("label", { for: "search" }, "Search"), this.search),
        el("span", { class: "pair" }, el("label", { for: "state" }, "State"), this.state),
        this.compare,
        this.found,
      ),
      el(
        "table",
        { class: "cards", id: "runs" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            el("th", { scope: "col" }, el("span", { class: "hidden" }, "Compare")),
            COLUMNS.map(([, , figure], place) =>
              el("th", { scope: "col", class: figure ? "figure" : null }, this.heads[place]),
            ),
          ),
        ),
        this.body,
      ),
      el("p", { class: "actions" }, this.more),
    );
  }

  sort(place) {
    this.down = this.by === place ? !this.down : true;
    this.by = place;
    this.choose();
  }

  choose() {
    this.most = ROWS;
    const query = new URLSearchParams({
      ...(this.search.value && { search: this.search.value }),
      ...(this.state.value !== "all" && { state: this.state.value }),
      ...(this.by !== 6 && { sort: this.by }),
      ...(!this.down && { up: 1 }),
    });
    history.replaceState(null, "", `#/${query.size ? `?${query}` : ""}`);
    this.draw();
  }

  draw() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const state = this.state.value;
    const fits = (one) =>
      (state === "all" || state === one.status.state || (state === "on disk only" && one.on_disk_only)) &&
      words.every((word) => text(one).includes(word));
    const value = COLUMNS[this.by][1];
    const rank = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0);
    const rows = this.items.filter(fits).sort((a, b) => (this.down ? -rank(a, b) : rank(a, b)));
    this.heads.forEach((head, place) => {
      const order = place === this.by ? (this.down ? "descending" : "ascending") : "none";
      head.parentElement.setAttribute("aria-sort", order);
    });
    this.more.hidden = rows.length <= this.most;
    say(
      this.found,
      rows.length === this.items.length
        ? count(rows.length, "run")
        : `${rows.length} of ${count(this.items.length, "run")}`,
    );
    keep(
      this.body,
      rows.slice(0, this.most),
      (one) => one.status.id,
      (one) => this.row(one),
    );
  }

  row({ status, notes, on_disk_only }) {
    const id = status.id;
    const box = el("input", {
      type: "checkbox",
      "aria-label": `Compare ${notes.name || id}`,
      checked: this.chosen.has(id),
      change: () => {
        if (box.checked) this.chosen.add(id);
        else this.chosen.delete(id);
        this.chosenChanged();
      },
    });
    return el(
      "tr",
      {},
      cell("Compare", {}, box),
      cell("State", {}, badge(status.state), on_disk_only && el("span", { class: "note" }, " on disk")),
      cell(
        "Run",
        {},
        el("a", { href: `#/evaluations/${encodeURIComponent(id)}` }, notes.name || id),
        notes.name && el("span", { class: "note" }, ` ${id}`),
        notes.tags.map((tag) => [" ", el("span", { class: "badge tag" }, tag)]).flat(),
      ),
      cell("Agent", {}, status.id.includes("-play-") ? el("span", { class: "badge" }, "by hand") : status.agent_name),
      cell("Protocol", {}, asked(status.request)),
      cell(
        "Episodes",
        { class: "figure" },
        progress(status),
        status.errored ? el("span", { class: "bad" }, ` ${status.errored} errored`) : null,
      ),
      cell("Mean score", { class: "figure" }, points(status.mean_score)),
      cell("Begun", {}, ago(status.created)),
    );
  }

  chosenChanged() {
    const ids = [...this.chosen];
    say(this.compare, ids.length ? `Compare ${ids.length}` : "Compare");
    if (ids.length < 2) {
      this.compare.removeAttribute("href");
      this.compare.setAttribute("aria-disabled", "true");
    } else {
      this.compare.href = `#/compare?${ids.map((id) => `run=${encodeURIComponent(id)}`).join("&")}`;
      this.compare.removeAttribute("aria-disabled");
    }
  }
}

const text = ({ status, notes }) =>
  [
    status.id,
    status.state,
    status.agent_name,
    asked(status.request),
    status.request.tasks,
    notes.name,
    notes.tags,
    notes.note,
  ]
    .join(" ")
    .toLowerCase();

function nothing(options) {
  return el(
    "div",
    { class: "empty" },
    el("h1", {}, "No evaluations yet"),
    options.can_play && el("p", {}, el("a", { class: "button main", href: "#/new" }, "New evaluation")),
    options.can_play &&
      el("p", {}, "Or start one from the command line, with an episode of a short task; it appears here:"),
    options.can_play && el("pre", {}, `./run evaluate --url ${location.origin} --tasks 4-2`),
    !options.can_play && el("p", {}, "No run folder was found. Name some: ", el("code", {}, "./run view runs/ID")),
  );
}
