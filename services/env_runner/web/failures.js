// How the episodes of an evaluation failed: each way with its tasks and an example.

import { el, number, numberHead, stacked, tableHead, wide } from "./dom.js";

/** `choose` is called with the id of a task whose failed episodes are wanted. */
export function failureTable(modes, id, world, choose) {
  if (!modes.length) return [];
  const address = (mode) => `#/evaluations/${encodeURIComponent(id)}/episodes/${encodeURIComponent(mode.example)}`;
  const task = ([name, episodes]) =>
    el(
      "button",
      { type: "button", class: "link", title: world.taskName(name), click: () => choose(name, "unsolved") },
      `${name} (${episodes})`,
    );
  return [
    el("h2", {}, "How episodes failed"),
    wide(
      "How episodes failed",
      stacked(
        el(
          "table",
          { id: "failures" },
          tableHead("Outcome", numberHead("Episodes"), "Tasks", "Example"),
          el(
            "tbody",
            {},
            modes.map((mode) =>
              el(
                "tr",
                {},
                el("td", {}, mode.name, mode.detail && el("span", { class: "note" }, ` ${mode.detail}`)),
                number(mode.episodes.length),
                el(
                  "td",
                  {},
                  Object.entries(mode.tasks).map((entry) => [task(entry), " "]),
                ),
                el("td", {}, el("a", { href: address(mode) }, `Replay ${mode.episodes[0]}`)),
              ),
            ),
          ),
        ),
      ),
    ),
  ];
}
