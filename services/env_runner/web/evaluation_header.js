// The head of an evaluation's page: what was requested, how far it is, and what can be done with it.

import { api } from "./api.js";
import { el } from "./dom.js";
import { confirmed } from "./forms.js";
import { ago, badge, isByHand, progress, requestSummary } from "./format_values.js";

/** States in which nothing is played. */
export const ENDED = new Set(["finished", "cancelled"]);

export class Header {
  constructor(id, notify, canPlay, world) {
    this.notify = notify;
    this.canPlay = canPlay;
    this.world = world;
    this.state = el("span");
    this.progress = el("div", { class: "far" });
    this.lead = el("p", { class: "lead" });
    this.models = el("p", { class: "note models" });
    this.cancel = this.button("Cancel", async () => {
      if (
        await confirmed("Cancel this evaluation?", "Finished episodes are kept. You can resume it later.", "Cancel it")
      )
        await api.cancel(id);
    });
    this.resume = this.button("Resume", () => api.resume(id, false));
    this.again = this.button("Retry errored episodes", () => api.resume(id, true));
    const exports = ["csv", "jsonl", "parquet"].map((format) =>
      this.button(format.toUpperCase(), () => api.save(id, format)),
    );
    this.element = el(
      "section",
      { class: "head" },
      el("h1", {}, id, " ", this.state),
      this.lead,
      this.models,
      this.progress,
      el(
        "p",
        { class: "actions" },
        this.cancel,
        this.resume,
        this.again,
        el("a", { class: "button", href: `#/compare?run=${encodeURIComponent(id)}` }, "Compare with …"),
        el("span", { class: "exports" }, "Export as ", exports),
      ),
    );
  }

  button(words, act) {
    const click = async () => {
      element.disabled = true;
      try {
        await act();
        this.notify(null);
        this.resolve?.(true);
      } catch (error) {
        this.notify(error.message);
      }
      element.disabled = false;
    };
    const element = el("button", { type: "button", click }, words);
    return element;
  }

  /** Resolves with true when a button was pressed. */
  pressed() {
    return new Promise((resolve) => {
      this.resolve = resolve;
    });
  }

  show(status) {
    const running = !ENDED.has(status.state);
    this.state.replaceChildren(badge(status.state));
    this.progress.replaceChildren(progress(status), el("span", {}, remaining(status)));
    this.lead.replaceChildren(
      el("strong", {}, isByHand(status.id) ? `by hand, with the help of ${status.agent_name}` : status.agent_name),
      ` · ${this.world.title}, ${requestSummary(status.request)} · started `,
      ago(status.created),
    );
    this.models.replaceChildren(models(status.versions));
    this.cancel.hidden = !this.canPlay || !running;
    this.resume.hidden = !this.canPlay || status.state !== "cancelled";
    this.again.hidden = !this.canPlay || running || status.errored === 0;
  }
}

function remaining({ running, errored, episodes, finished, state }) {
  const open = episodes - finished - running;
  const parts = [
    running ? `${running} being played` : "",
    open && !ENDED.has(state) ? `${open} waiting` : "",
    open && state === "cancelled" ? `${open} not played` : "",
    errored ? `${errored} errored` : "",
  ];
  return parts.filter(Boolean).join(", ");
}

function models(versions) {
  if (!versions) return "";
  const infos = [versions.controller, versions.first, versions.executor].filter((info) => info);
  const names = infos.map((info) => `${info.role} ${info.checkpoint} (${info.engine})`);
  return `Played with ${[versions.environment, ...names].join(", ")}`;
}
