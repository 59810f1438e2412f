// One evaluation, live: how far it is, its scores, how episodes failed, and its episodes.

import { api, isTemporary, Refused, sleep } from "./api.js";
import { el } from "./dom.js";
import { EpisodeList } from "./episode_list.js";
import { failureTable } from "./failures.js";
import { ENDED, Header } from "./evaluation_header.js";
import { Notes } from "./run_notes.js";
import { headline, tables } from "./scores.js";
import { worldOfStatus } from "./worlds.js";

const SUM_EVERY = 2_000; // ms between two requests for the scores while results come in
const LOOK_EVERY = 5_000; // ms between two looks at an evaluation that has ended: somebody may resume it

export async function evaluation({ main, place, notify, signal, query }, id) {
  const [status, options] = await Promise.all([api.evaluation(id, signal), api.options(signal)]);
  const world = await worldOfStatus(status);
  place([["Evaluations", "#/"]], id);
  const header = new Header(id, notify, options.can_play, world);
  const figures = el("section", { "aria-label": "Scores" });
  const list = new EpisodeList(id, query, world);
  const choose = (task, outcome) => list.choose(task, outcome);
  header.show(status);
  main.replaceChildren(header.element, new Notes(id, signal).element, figures, list.element);

  let summed = 0;
  let summing = null;
  /** Ask for the scores, soon after something changed and not too often. */
  function updateScores() {
    summing ??= sleep(Math.max(0, summed + SUM_EVERY - Date.now()), signal)
      .then(() => {
        summing = null;
        summed = Date.now();
        return Promise.all([api.summary(id, signal), api.failures(id, signal)]);
      })
      .then(([answer, failures]) => {
        const scrolled = [...figures.querySelectorAll(".wide")].map((table) => table.scrollLeft);
        figures.replaceChildren(
          ...headline(answer, world),
          ...failureTable(failures.items, id, world, choose),
          ...tables(answer, world, choose),
        );
        figures.querySelectorAll(".wide").forEach((table, place) => (table.scrollLeft = scrolled[place] ?? 0));
        if (query.get("task") && !revealed) list.reveal();
        revealed = true;
      })
      .catch((error) => {
        // The stream of events reports a lost connection; only a refusal, e.g. of mixed checkpoints, is shown here.
        if (error instanceof Refused)
          figures.replaceChildren(el("p", { class: "wrong", role: "alert" }, error.message));
      });
  }
  let revealed = false;

  for (;;) {
    let [last, lost] = [status, false];
    list.begin(await api.episodes(id, signal));
    updateScores();
    for await (const { event, data } of api.events(id, signal)) {
      if (lost !== (event === "broken")) {
        lost = !lost;
        notify(lost ? "The connection is lost. This page keeps trying." : null);
      }
      if (event === "episode" && list.add(data)) updateScores();
      if (event === "status") {
        header.show(data);
        last = data;
        if (ENDED.has(data.state)) break;
      }
    }
    updateScores();
    await changed(id, last, header, signal);
  }
}

/** Return once an evaluation that has ended differs from `before`, or once somebody has pressed a button here. */
async function changed(id, before, header, signal) {
  for (;;) {
    const pressed = await Promise.race([sleep(LOOK_EVERY, signal), header.pressed()]);
    try {
      const status = await api.evaluation(id, signal);
      if (pressed || JSON.stringify(status) !== JSON.stringify(before)) return;
    } catch (error) {
      if (!isTemporary(error)) throw error;
    }
  }
}
