// Why a turn went as it did: what the models considered, and on request the exact prompts that they read.

import { api } from "./api.js";
import { el, number, numberHead } from "./dom.js";
import { probability } from "./format_values.js";

/** A table of alternatives `[text, logprob]`; the one that was followed is marked. Null without alternatives. */
export function alternatives(caption, list, followed) {
  if (!list?.length) return null;
  return el(
    "table",
    { class: "alternatives" },
    el("caption", {}, caption),
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        el("th", { scope: "col" }, "Text"),
        numberHead("Probability"),
        el("th", { scope: "col" }, el("span", { class: "hidden" }, "Followed")),
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
          number(probability(logprob), { title: `log-probability ${logprob}` }),
          el("td", {}, taken && el("span", { class: "badge solved" }, "followed")),
        );
      }),
    ),
  );
}

/** A part of the page that loads the prompts of a turn once it is opened. */
export function prompts(id, episode, turn) {
  const content = el("div", {});
  const load = async () => {
    if (!details.open || content.childElementCount) return;
    content.replaceChildren(el("p", { "aria-busy": "true" }, "Loading …"));
    try {
      const { models } = await api.turn(id, episode, turn);
      content.replaceChildren(
        ...(models.length ? models.map(modelInput) : [el("p", { class: "note" }, "No model was asked in this turn.")]),
      );
    } catch (error) {
      content.replaceChildren(el("p", { class: "wrong" }, error.message));
    }
  };
  const details = el(
    "details",
    { class: "prompts", toggle: load },
    el("summary", {}, "Exact prompts of this turn"),
    content,
  );
  return details;
}

function modelInput({ asked, checkpoint, prompt, state }) {
  const named = checkpoint
    ? `Checkpoint ${checkpoint.checkpoint} (${checkpoint.sha256.slice(0, 12) || "no weights"}), ` +
      `prompt format ${checkpoint.prompt_format}, engine ${checkpoint.engine}`
    : "The checkpoint was not recorded.";
  return el(
    "section",
    {},
    el(
      "h3",
      {},
      asked === "first" ? "Controller for the first sub-goal" : asked === "controller" ? "Controller" : "Executor",
    ),
    el("p", { class: "note" }, named),
    el(
      "pre",
      { class: "prompt", tabindex: "0", role: "region", "aria-label": `Prompt of the ${asked}` },
      prompt ?? "The prompt cannot be shown: the result does not name its checkpoint.",
    ),
    el("details", {}, el("summary", {}, "State as sent (JSON)"), el("pre", {}, JSON.stringify(state, null, 2))),
  );
}
