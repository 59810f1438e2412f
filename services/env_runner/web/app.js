// Which page is shown. The part of the address after `#` names it, so every page can be linked to and Back works.

import { KeyNeeded, Refused, Unreachable, key, sleep } from "./api.js";
import { compare } from "./compare.js";
import { el } from "./dom.js";
import { episode } from "./episode_page.js";
import { evaluation } from "./evaluation_page.js";
import { start } from "./new_evaluation.js";
import { play } from "./play_form.js";
import { runs } from "./run_list.js";
import { session } from "./play_session.js";
import { sideBySide } from "./side_by_side.js";
import { updateAges } from "./format_values.js";

const AGE_EVERY = 5_000; // ms
const ASK_AGAIN = 3_000; // ms between two tries to reach an env-runner

const PAGES = [
  [/^$/, runs],
  [/^new$/, start],
  [/^compare$/, compare],
  [/^side-by-side$/, sideBySide],
  [/^play$/, play],
  [/^play\/([^/]+)$/, session],
  [/^evaluations\/([^/]+)$/, evaluation],
  [/^evaluations\/([^/]+)\/episodes\/([^/]+)$/, episode],
];

const main = document.getElementById("main");
const trail = document.getElementById("trail");
const forget = document.getElementById("forget");
let leaving = new AbortController();

async function show() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const [path, query = ""] = location.hash.replace(/^#?\/?/, "").split("?");
  const [page, names] = PAGES.map(([pattern, page]) => [page, pattern.exec(path)]).find(([, match]) => match) ?? [];
  forget.hidden = key.get() === null;
  notify(null);
  if (page === undefined) {
    place([], "Not found");
    main.replaceChildren(empty(`There is no page ${path}.`, el("a", { href: "#/" }, "All evaluations")));
    return;
  }
  main.replaceChildren(el("p", { class: "empty", "aria-busy": "true" }, "Loading …"));
  window.scrollTo(0, 0);
  try {
    await page(
      { main, place, notify, signal, query: new URLSearchParams(query) },
      ...names.slice(1).map(decodeURIComponent),
    );
  } catch (error) {
    if (!signal.aborted) fail(error);
  }
}

/** Show what went wrong and what to do. */
function fail(error) {
  if (error instanceof KeyNeeded) {
    main.replaceChildren(keyForm(error.message));
    main.querySelector("input").focus();
    return;
  }
  const again = el("button", { type: "button", click: show }, "Try again");
  if (error instanceof Unreachable) {
    main.replaceChildren(
      empty(`${error.message} This page keeps trying. To start the services:`, el("pre", {}, "./run up"), again),
    );
    sleep(ASK_AGAIN, leaving.signal).then(show, () => {});
  } else if (error instanceof Refused && error.status === 404) {
    main.replaceChildren(empty(error.message, el("a", { href: "#/" }, "All evaluations")));
  } else {
    main.replaceChildren(empty(error.message, again));
    if (!(error instanceof Refused)) throw error; // a bug: for the console
  }
}

function keyForm(message) {
  const field = el("input", { type: "password", name: "key", autocomplete: "off", required: true, id: "key" });
  const submit = (event) => {
    event.preventDefault();
    key.set(field.value.trim());
    show();
  };
  return el(
    "form",
    { class: "empty key", submit },
    el(
      "p",
      {},
      message,
      " Enter one of the keys in ",
      el("code", {}, "WAYMARK_API_KEYS"),
      ". This tab keeps it until it is closed.",
    ),
    el("label", { for: "key" }, "API key"),
    el("span", {}, field, el("button", { type: "submit", class: "main" }, "Sign in")),
  );
}

const empty = (text, ...more) => el("div", { class: "empty" }, el("p", {}, text), ...more);

/** The trail of this page: links `[words, address]` to the pages above, then its own name. */
function place(above, here) {
  document.title = here ? `${here} · Waymark` : "Waymark";
  trail.replaceChildren(
    ...above.flatMap(([words, address]) => [el("span", {}, "/"), el("a", { href: address }, words)]),
    ...(here ? [el("span", {}, "/"), el("span", { "aria-current": "page" }, here)] : []),
  );
}

/** Show one line above the page, e.g. that the connection is lost; null removes it. */
function notify(text) {
  const notice = document.getElementById("notice");
  notice.hidden = text === null;
  notice.textContent = text ?? "";
}

forget.addEventListener("click", () => {
  key.forget();
  show();
});
window.addEventListener("hashchange", show);
setInterval(updateAges, AGE_EVERY);
show();
