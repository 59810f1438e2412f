// How other runs did on the variation of an episode, with links to their replays beside this one.

import { api } from "./api.js";
import { el, number, numberHead, stacked, tableHead, wide } from "./dom.js";
import { ago, minus } from "./format_values.js";

const SHOWN = 5; // more are folded away

/** A part of the page that is filled once the answer is there; it stays empty where no other run played this. */
export function elsewhere(run, episode, world, signal) {
  const place = el("div", { class: "elsewhere" });
  api.elsewhere(run, episode, signal).then(
    ({ items }) => items.length && place.replaceChildren(...sections(items, run, episode)),
    () => {}, // the page is complete without it
  );
  return place;
}

function sections(items, run, episode) {
  const rest = items.slice(SHOWN);
  return [
    el("h2", {}, "The same variation in other runs"),
    wide("The same variation in other runs", table(items.slice(0, SHOWN), run, episode)),
    rest.length > 0 && el("details", {}, el("summary", {}, `${rest.length} more`), table(rest, run, episode)),
  ].filter(Boolean);
}

const table = (items, run, episode) =>
  stacked(
    el(
      "table",
      { class: "others" },
      tableHead(
        "Agent",
        "Run",
        numberHead("Score"),
        "Started",
        el("th", { scope: "col" }, el("span", { class: "hidden" }, "Replays")),
      ),
      el(
        "tbody",
        {},
        items.map((other) =>
          el(
            "tr",
            {},
            el("td", {}, other.agent_name),
            el("td", {}, el("a", { href: episodeAddress(other) }, other.run_name)),
            number([minus(other.score), other.success && [" ", el("span", { class: "badge solved" }, "solved")]]),
            el("td", {}, ago(other.created)),
            el(
              "td",
              {},
              el(
                "a",
                { href: pairAddress(run, episode, other) },
                "Side by side",
                el("span", { class: "hidden" }, ` with ${other.run_name}`),
              ),
            ),
          ),
        ),
      ),
    ),
  );

const episodeAddress = ({ run, episode }) =>
  `#/evaluations/${encodeURIComponent(run)}/episodes/${encodeURIComponent(episode)}`;

/** The address of two replays side by side. */
export function pairAddress(run, episode, other) {
  const pair = new URLSearchParams({ a: run, "a-episode": episode, b: other.run, "b-episode": other.episode });
  return `#/side-by-side?${pair}`;
}
