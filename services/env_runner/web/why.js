// Why a turn went as it did: what the models considered, and on request the exact prompts that they read.

import { api } from "./api.js";
import { el, points } from "./dom.js";

const probability = (logprob) => `${points(100 * Math.exp(logprob))}%`;

/** A table of alternatives `[text, logprob]`; the one that was followed is marked. */
export function alternatives(words, list, followed) {
  if (!list?.length) return null;
  return el(
    "table",
    { class: "alternatives" },
    el("caption", {}, words),
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        el("th", { scope: "col" }, "Text"),
        el("th", { scope: "col", class: "figure" }, "Probability"),
        el("th", { scope: "col" }),
      ),
    ),
    el(
      "tbody",
      {},
      list.map(([text, logprob]) => {
        const taken = text === followed;
        return el(
          "tr",
          { class: taken ? "taken" : null },
          el("td", {}, text ?? el("em", {}, "end the sub-goal")),
          el("td", { class: "figure", title: `log-probability ${logprob}` }, probability(logprob)),
          el("td", {}, taken && el("span", { class: "badge solved" }, "followed")),
        );
      }),
    ),
  );
}

/** A part of the page that loads the prompts of a turn once it is opened. */
export function prompts(id, episode, turn) {
  const inside = el("div", {});
  const opened = async () => {
    if (!details.open || inside.childElementCount) return;
    inside.replaceChildren(el("p", { "aria-busy": "true" }, "Loading …"));
    try {
      const { models } = await api.turn(id, episode, turn);
      inside.replaceChildren(
        ...(models.length ? models.map(input) : [el("p", {}, "No model was asked in this turn.")]),
      );
    } catch (error) {
      inside.replaceChildren(el("p", { class: "wrong" }, error.message));
    }
  };
  const details = el(
    "details",
    { class: "prompts", toggle: opened },
    el("summary", {}, "Exact prompts of this turn"),
    inside,
  );
  return details;
}

function input({ asked, checkpoint, prompt, state }) {
  const named = checkpoint
    ? `${checkpoint.checkpoint}, ${checkpoint.sha256.slice(0, 12) || "no weights"}, format ${checkpoint.prompt_format}, ${checkpoint.engine}`
    : "checkpoint not recorded";
  return el(
    "section",
    {},
    el("h3", {}, asked === "first" ? "controller (first sub-goal)" : asked),
    el("p", { class: "note" }, named),
    el(
      "pre",
      { class: "prompt", tabindex: "0", role: "region", "aria-label": `Prompt of the ${asked}` },
      prompt ?? "The result does not name its checkpoint.",
    ),
    el("details", {}, el("summary", {}, "State as sent, JSON"), el("pre", {}, JSON.stringify(state, null, 2))),
  );
}
