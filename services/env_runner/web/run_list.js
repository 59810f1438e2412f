// The first page: every run, those in Redis and those that are only on disk. Search, filter, sort, choose to compare.

import { api, isTemporary, sleep } from "./api.js";
import { cell, el, setText, syncChildren } from "./dom.js";
import { ago, badge, count, isByHand, points, progress, requestSummary } from "./format_values.js";

const LOOK_EVERY = 2_000; // ms while something is played
const LOOK_SELDOM = 5_000;
const ROWS = 200; // shown at first; more as the reader scrolls down
const STARTED = 7; // the column that the list is sorted by at first
const COLUMNS = [
  { name: "State", value: ({ status }) => status.state },
  { name: "Run", value: ({ status, notes }) => notes.name || status.id },
  { name: "Agent", value: ({ status }) => status.agent_name },
  { name: "World", value: ({ world }) => world },
  { name: "Protocol", value: ({ status }) => requestSummary(status.request) },
  { name: "Episodes", value: ({ status }) => status.finished, figure: true },
  { name: "Mean score", value: ({ status }) => status.mean_score ?? -Infinity, figure: true },
  { name: "Started", value: ({ status }) => status.created },
];
const STATES = ["all", "queued", "running", "finished", "cancelled", "on disk only"];

export async function runs({ main, place, notify, signal, query }) {
  place([], "");
  const options = await api.options(signal);
  const list = new RunList(query, options);
  for (let first = true; ; first = false) {
    let busy = false;
    try {
      if (first || document.visibilityState === "visible") {
        const { items } = await api.runs(signal);
        busy = items.some((entry) => ["queued", "running"].includes(entry.status.state));
        list.items = items;
        list.draw();
        const shown = items.length ? list.element : nothingYet(options);
        if (main.firstElementChild !== shown) main.replaceChildren(shown);
      }
      notify(null);
    } catch (error) {
      if (first || !isTemporary(error)) throw error;
      notify("The env-runner does not answer. This page keeps trying.");
    }
    await sleep(busy ? LOOK_EVERY : LOOK_SELDOM, signal);
  }
}

class RunList {
  constructor(query, options) {
    this.items = [];
    this.chosen = new Set(query.getAll("chosen"));
    this.limit = ROWS;
    this.sortedBy = Number(query.get("sort") ?? STARTED);
    if (!COLUMNS[this.sortedBy]) this.sortedBy = STARTED;
    this.descending = query.get("up") === null;
    this.search = el("input", {
      type: "search",
      name: "search",
      id: "search",
      value: query.get("search"),
      placeholder: "name, id, agent, task, tag or note",
      input: () => this.changed(),
    });
    this.state = el(
      "select",
      { id: "state", change: () => this.changed() },
      STATES.map((name) => el("option", { value: name }, name)),
    );
    if (STATES.includes(query.get("state"))) this.state.value = query.get("state");
    this.counted = el("span", { class: "note", role: "status" });
    this.compare = el("a", { class: "button" }, "Compare");
    this.sortButtons = COLUMNS.map(({ name }, place) =>
      el("button", { type: "button", class: "sort", click: () => this.sort(place) }, name),
    );
    this.heads = COLUMNS.map(({ name, figure }, place) =>
      el("th", { scope: "col", class: figure ? "figure" : name.toLowerCase() }, this.sortButtons[place]),
    );
    this.body = el("tbody");
    this.more = el("button", { type: "button", click: () => this.extend() }, "Show more runs");
    new IntersectionObserver((seen) => seen[0].isIntersecting && this.extend(), { rootMargin: "1200px" }).observe(
      this.more,
    );
    this.table = el(
      "table",
      { class: "cards", id: "runs" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, el("span", { class: "hidden" }, "Compare")), this.heads)),
      this.body,
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
        this.counted,
      ),
      this.table,
      el("p", { class: "actions" }, this.more),
    );
    this.updateCompare();
  }

  sort(place) {
    this.descending = this.sortedBy === place ? !this.descending : true;
    this.sortedBy = place;
    this.changed();
  }

  extend() {
    this.limit += ROWS;
    this.draw();
  }

  changed() {
    this.limit = ROWS;
    const query = new URLSearchParams({
      ...(this.search.value && { search: this.search.value }),
      ...(this.state.value !== "all" && { state: this.state.value }),
      ...(this.sortedBy !== STARTED && { sort: this.sortedBy }),
      ...(!this.descending && { up: 1 }),
    });
    history.replaceState(null, "", `#/${query.size ? `?${query}` : ""}`);
    this.draw();
  }

  draw() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const state = this.state.value;
    const fits = (entry) =>
      (state === "all" || state === entry.status.state || (state === "on disk only" && entry.on_disk_only)) &&
      words.every((word) => searchText(entry).includes(word));
    const { value } = COLUMNS[this.sortedBy];
    const ascending = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0);
    const rows = this.items.filter(fits).sort((a, b) => (this.descending ? -ascending(a, b) : ascending(a, b)));
    this.heads.forEach((head, place) => {
      const order = this.descending ? "descending" : "ascending";
      head.setAttribute("aria-sort", place === this.sortedBy ? order : "none");
    });
    this.table.classList.toggle("single-world", new Set(this.items.map((entry) => entry.world)).size < 2);
    this.more.hidden = rows.length <= this.limit;
    const total = count(this.items.length, "run");
    setText(this.counted, rows.length === this.items.length ? total : `${rows.length} of ${total}`);
    syncChildren(
      this.body,
      rows.slice(0, this.limit),
      (entry) => entry.status.id,
      (entry) => this.row(entry),
    );
  }

  row({ status, notes, on_disk_only, world }) {
    const id = status.id;
    const box = el("input", {
      type: "checkbox",
      "aria-label": `Compare ${notes.name || id}`,
      checked: this.chosen.has(id),
      change: () => {
        if (box.checked) this.chosen.add(id);
        else this.chosen.delete(id);
        this.updateCompare();
      },
    });
    return el(
      "tr",
      {},
      cell("Compare", { class: "choose" }, box),
      cell("State", {}, badge(status.state), on_disk_only && el("span", { class: "note" }, " on disk")),
      cell(
        "Run",
        { class: "run" },
        el("a", { href: `#/evaluations/${encodeURIComponent(id)}` }, notes.name || id),
        notes.name && el("span", { class: "note" }, ` ${id}`),
        notes.tags.map((tag) => [" ", el("span", { class: "badge tag" }, tag)]),
      ),
      cell("Agent", {}, isByHand(id) ? el("span", { class: "badge" }, "by hand") : status.agent_name),
      cell("World", { class: "world" }, world),
      cell("Protocol", {}, requestSummary(status.request)),
      cell(
        "Episodes",
        { class: "figure" },
        progress(status),
        status.errored > 0 && el("span", { class: "bad" }, ` ${status.errored} errored`),
      ),
      cell(
        "Mean score",
        { class: "figure", title: "Mean over episodes. The run's page has the mean over task types." },
        points(status.mean_score),
      ),
      cell("Started", {}, ago(status.created)),
    );
  }

  updateCompare() {
    const ids = [...this.chosen];
    setText(this.compare, ids.length > 1 ? `Compare ${ids.length}` : "Compare");
    if (ids.length < 2) this.compare.href = ids.length ? `#/compare?run=${encodeURIComponent(ids[0])}` : "#/compare";
    else this.compare.href = `#/compare?${ids.map((id) => `run=${encodeURIComponent(id)}`).join("&")}`;
  }
}

/** What a search looks at, in lower case. */
const searchText = ({ status, notes, world }) =>
  [
    status.id,
    status.state,
    status.agent_name,
    world,
    requestSummary(status.request),
    status.request.tasks,
    notes.name,
    notes.tags,
    notes.note,
  ]
    .join(" ")
    .toLowerCase();

function nothingYet(options) {
  return el(
    "div",
    { class: "empty" },
    el("h1", {}, "No evaluations yet"),
    options.can_play && el("p", {}, el("a", { class: "button main", href: "#/new" }, "New evaluation")),
    options.can_play && el("p", {}, "Or start one from the command line. It appears here:"),
    options.can_play &&
      el("pre", {}, `./run evaluate --url ${location.origin} --tasks ${options.tasks.at(-1)?.id ?? ""}`),
    !options.can_play &&
      el("p", {}, "There is no run folder to show. Name some: ", el("code", {}, "./run view runs/ID")),
  );
}
