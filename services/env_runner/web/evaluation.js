// One evaluation, live: how far it is, what it scored beside the published agents, and its episodes.

import { api, passing, Refused, sleep } from "./api.js";
import { ago, asked, badge, confirmed, el, progress } from "./dom.js";
import { EpisodeList } from "./episodes.js";
import { Notes } from "./notes.js";
import { failed, scores } from "./scores.js";

const ENDED = new Set(["finished", "cancelled"]);
const SUM_EVERY = 2_000; // ms between two looks at the figures while results come in
const LOOK_EVERY = 5_000; // ms between two looks at one that has ended: others may resume it

export async function evaluation({ main, place, notify, signal, query }, id) {
  const [status, options] = await Promise.all([api.evaluation(id, signal), api.options(signal)]);
  place([["Evaluations", "#/"]], id);
  const header = new Header(id, notify, options.can_play);
  const figures = el("section", { "aria-label": "Scores" });
  const list = new EpisodeList(id, query);
  header.show(status);
  main.replaceChildren(header.element, new Notes(id, signal).element, figures, list.element);

  let summed = 0;
  let summing = null;
  /** Look at the figures, soon after something changed and not too often. */
  function sum() {
    summing ??= sleep(Math.max(0, summed + SUM_EVERY - Date.now()), signal)
      .then(() => {
        summing = null;
        summed = Date.now();
        return Promise.all([api.summary(id, signal), api.failures(id, signal)]);
      })
      .then(([answer, failures]) => {
        const scrolled = [...figures.querySelectorAll(".wide")].map((table) => table.scrollLeft);
        figures.replaceChildren(...scores(answer), ...failed(failures.items, id));
        figures.querySelectorAll(".wide").forEach((table, place) => (table.scrollLeft = scrolled[place] ?? 0));
      })
      .catch((error) => {
        // A lost connection is told by the stream of events; a refusal, e.g. of mixed checkpoints, only here.
        if (error instanceof Refused)
          figures.replaceChildren(el("p", { class: "wrong", role: "alert" }, error.message));
      });
  }

  for (;;) {
    let [last, lost] = [status, false];
    list.begin(await api.episodes(id, signal));
    sum();
    for await (const { event, data } of api.events(id, signal)) {
      if (lost !== (event === "broken")) {
        lost = !lost;
        notify(lost ? "The connection is lost; this page goes on trying." : null);
      }
      if (event === "episode" && list.add(data)) sum();
      if (event === "status") {
        header.show(data);
        last = data;
        if (ENDED.has(data.state)) break;
      }
    }
    sum();
    await changed(id, last, header, signal);
  }
}

/** Return once an evaluation that has ended is another than `before`, or somebody here has asked for that. */
async function changed(id, before, header, signal) {
  for (;;) {
    const asked = await Promise.race([sleep(LOOK_EVERY, signal), header.asked()]);
    try {
      const status = await api.evaluation(id, signal);
      if (asked || JSON.stringify(status) !== JSON.stringify(before)) return;
    } catch (error) {
      if (!passing(error)) throw error;
    }
  }
}

/** What was asked for, how far it is, and what may be done with it. */
class Header {
  constructor(id, notify, canPlay) {
    this.notify = notify;
    this.canPlay = canPlay;
    this.state = el("span");
    this.progress = el("div", { class: "far" });
    this.what = el("p", { class: "what" });
    this.cancel = this.button("Cancel", async () => {
      if (
        await confirmed("Cancel this evaluation?", "Finished episodes are kept. You can resume it later.", "Cancel it")
      )
        await api.cancel(id);
    });
    this.resume = this.button("Resume", () => api.resume(id, false));
    this.again = this.button("Play errored ones again", () => api.resume(id, true));
    const exports = ["csv", "jsonl", "parquet"].map((format) =>
      this.button(format.toUpperCase(), () => api.save(id, format)),
    );
    this.element = el(
      "section",
      { class: "head" },
      el("h1", {}, id, " ", this.state),
      this.what,
      this.progress,
      el(
        "p",
        { class: "actions" },
        this.cancel,
        this.resume,
        this.again,
        el("a", { class: "button", href: `#/compare?run=${encodeURIComponent(id)}` }, "Compare with …"),
        el("span", { class: "exports" }, "Export ", exports),
      ),
    );
  }

  button(words, act) {
    const click = async () => {
      pressed.disabled = true;
      try {
        await act();
        this.notify(null);
        this.heard?.(true);
      } catch (error) {
        this.notify(error.message);
      }
      pressed.disabled = false;
    };
    const pressed = el("button", { type: "button", click }, words);
    return pressed;
  }

  /** Resolves with true when a button was pressed. */
  asked() {
    return new Promise((resolve) => {
      this.heard = resolve;
    });
  }

  show(status) {
    const running = !ENDED.has(status.state);
    this.state.replaceChildren(badge(status.state));
    this.progress.replaceChildren(progress(status), el("span", {}, going(status)));
    this.what.replaceChildren(
      el(
        "strong",
        {},
        status.id.includes("-play-") ? `by hand, with the help of ${status.agent_name}` : status.agent_name,
      ),
      ` · ${asked(status.request)} · begun `,
      ago(status.created),
      made(status.versions),
    );
    this.cancel.hidden = !this.canPlay || !running;
    this.resume.hidden = !this.canPlay || status.state !== "cancelled";
    this.again.hidden = !this.canPlay || running || status.errored === 0;
  }
}

function going({ running, errored, episodes, finished, state }) {
  const waiting = episodes - finished - running;
  const parts = [
    running ? `${running} being played` : "",
    waiting && !ENDED.has(state) ? `${waiting} waiting` : "",
    waiting && state === "cancelled" ? `${waiting} not played` : "",
    errored ? `${errored} errored` : "",
  ];
  return parts.filter(Boolean).join(", ");
}

function made(versions) {
  if (versions === null) return "";
  const models = [versions.controller, versions.first, versions.executor].filter((one) => one);
  const named = models.map((one) => `${one.role} ${one.checkpoint} (${one.engine})`).join(", ");
  return ` · ${versions.environment}; ${named}`;
}
