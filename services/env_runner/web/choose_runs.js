// The page that chooses the runs to compare.

import { el } from "./dom.js";
import { ago, count, requestSummary } from "./format_values.js";

const SHOWN = 200; // runs; more are found by searching

/** The form; `first` is the run that the reader came from, which becomes the baseline. */
export function chooseRuns(items, first) {
  const list = el("ul", { class: "choices" });
  const chosen = new Set(first ? [first] : []);
  const total = el("span", { class: "note", role: "status" });
  const button = el("button", { type: "submit", class: "main" });
  const wrong = el("p", { class: "wrong", role: "alert" });
  const update = () => {
    button.textContent = chosen.size ? `Compare ${chosen.size}` : "Compare";
    wrong.textContent = "";
  };
  const draw = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fitting = items.filter((entry) => words.every((word) => describe(entry).toLowerCase().includes(word)));
    total.textContent = count(fitting.length, "run");
    list.replaceChildren(...fitting.slice(0, SHOWN).map((entry) => choice(entry, chosen, update)));
  };
  const search = el("input", { type: "search", id: "search", placeholder: "name, id, agent or task", input: draw });
  const submit = (event) => {
    event.preventDefault();
    const ordered = [...(chosen.has(first) ? [first] : []), ...[...chosen].filter((id) => id !== first)];
    if (ordered.length < 2) wrong.textContent = "Choose two or more runs.";
    else location.hash = `#/compare?${ordered.map((id) => `run=${encodeURIComponent(id)}`).join("&")}`;
  };
  draw();
  update();
  return [
    el("h1", {}, "Compare runs"),
    el(
      "form",
      { submit },
      el("p", {}, "Choose two or more runs that played the same variations. The first one is the baseline."),
      el("p", { class: "filter" }, el("label", { for: "search" }, "Search"), search, total),
      list,
      wrong,
      el("p", { class: "actions" }, button),
    ),
  ];
}

const describe = ({ status, notes }) =>
  [notes.name, status.id, status.agent_name, requestSummary(status.request), ...notes.tags].join(" ");

function choice({ status, notes }, chosen, update) {
  const box = el("input", {
    type: "checkbox",
    name: "run",
    value: status.id,
    checked: chosen.has(status.id),
    change: () => {
      if (box.checked) chosen.add(status.id);
      else chosen.delete(status.id);
      update();
    },
  });
  return el(
    "li",
    {},
    el(
      "label",
      { class: "choice" },
      box,
      el(
        "span",
        {},
        notes.name || status.id,
        el(
          "span",
          { class: "note" },
          ` ${status.agent_name} · ${requestSummary(status.request)} · `,
          ago(status.created),
        ),
      ),
    ),
  );
}
