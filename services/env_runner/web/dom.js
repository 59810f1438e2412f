// Elements and words. Text reaches the page through text nodes alone, whatever an episode may have said.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. A function among the attributes listens to the event of its name; null and false leave one out.
 * Children are nodes, or whatever else as text.
 */
export const el = (name, attributes = {}, ...children) => build(document.createElement(name), attributes, children);

/** The same for a drawing. */
export const svg = (name, attributes = {}, ...children) =>
  build(document.createElementNS(SVG, name), attributes, children);

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Write text where it differs, so that what somebody has selected stays selected. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Hold the children of `parent` to `items`: a child stays the same node as long as its item is there.
 * `id` names an item, `make` builds its node.
 */
export function keep(parent, items, id, make) {
  const before = new Map([...parent.children].map((child) => [child.dataset.id, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = id(item);
    const seen = JSON.stringify(item);
    let node = before.get(name);
    before.delete(name);
    if (node === undefined) {
      node = make(item);
      node.dataset.id = name;
    } else if (node.seen !== seen) {
      update(node, make(item));
    }
    node.seen = seen;
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  for (const node of before.values()) node.remove();
}

/** Make a row say what `made` says. Cells that say it already stay, so a link is there until it is clicked on. */
function update(row, made) {
  row.className = made.className;
  const before = [...row.children];
  const cells = [...made.children];
  cells.forEach((cell, place) => {
    if (before[place] === undefined) row.append(cell);
    else if (!before[place].isEqualNode(cell)) before[place].replaceWith(cell);
  });
  for (const rest of before.slice(cells.length)) rest.remove();
}

/** A cell under a heading; narrow screens show the heading beside it. */
export const cell = (heading, attributes, ...children) =>
  el("td", { "data-label": heading, ...attributes }, ...children);

export const heads = (...names) =>
  el(
    "thead",
    {},
    el(
      "tr",
      {},
      names.map((name) => head(name)),
    ),
  );

const head = (name) => (typeof name === "string" ? el("th", { scope: "col" }, name) : name);
export const figure = (name, kind = "") => el("th", { scope: "col", class: `figure ${kind}` }, name);

/** Ask before something that cannot be undone at once; resolves with whether it was confirmed. */
export function confirmed(question, detail, yes) {
  return new Promise((resolve) => {
    const answer = (value) => () => {
      dialog.close();
      dialog.remove();
      resolve(value);
    };
    const dialog = el(
      "dialog",
      { "aria-labelledby": "question", cancel: answer(false) },
      el("h2", { id: "question" }, question),
      el("p", {}, detail),
      el(
        "p",
        { class: "actions" },
        el("button", { type: "button", click: answer(true) }, yes),
        el("button", { type: "button", autofocus: true, click: answer(false) }, "Keep it"),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A labelled field of a form, with a place for what is wrong with it. */
export function field(words, control, hint = "") {
  const name = control.name;
  control.id = `field-${name}`;
  const wrong = el("span", { class: "wrong", id: `wrong-${name}`, role: "alert" });
  control.setAttribute("aria-describedby", `hint-${name} wrong-${name}`);
  const complain = (message) => {
    wrong.textContent = message ?? "";
    if (message) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
  };
  const element = el(
    "div",
    { class: "field" },
    el("label", { for: control.id }, words),
    control,
    el("span", { class: "hint", id: `hint-${name}` }, hint),
    wrong,
  );
  return { element, control, complain };
}

// --- words --------------------------------------------------------------------------------------------------------

export const points = (value) => (value === null || value === undefined ? "–" : value.toFixed(1));
export const percent = (share) => `${Math.round(100 * share)}%`;
export const signed = (number) => (number > 0 ? `+${number}` : minus(number));
export const minus = (number) => `${number}`.replace("-", "−");
export function seconds(value) {
  if (value < 0.95) return `${Math.round(1000 * value)} ms`;
  if (value < 99.5) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
export const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

/** How long ago: `age()` keeps all of them on the page up to date. */
export function ago(created) {
  const time = el("time", { datetime: created, title: new Date(created).toLocaleString() });
  time.textContent = words(created);
  return time;
}

export function age() {
  for (const time of document.querySelectorAll("time")) say(time, words(time.dateTime));
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
function words(created) {
  const passed = (Date.now() - new Date(created)) / 1000;
  if (passed < 60) return relative.format(-Math.max(0, Math.floor(passed / 5) * 5), "second");
  if (passed < 3600) return relative.format(-Math.floor(passed / 60), "minute");
  if (passed < 86_400) return relative.format(-Math.floor(passed / 3600), "hour");
  return relative.format(-Math.floor(passed / 86_400), "day");
}

/** A state in its colour. */
export const badge = (state) => el("span", { class: `badge ${state}` }, state);

/** How many episodes of an evaluation have a result. */
export function progress(status) {
  const bar = el("progress", { max: status.episodes, value: status.finished, "aria-label": "Episodes with a result" });
  return el("span", { class: "progress" }, bar, el("span", {}, `${status.finished} / ${status.episodes}`));
}

/** A variation, and which repeat of it if it is not the first. */
export const played = (variation, repeat) => (repeat ? `${variation}, repeat ${repeat}` : `${variation}`);

/** What was asked for, in a few words. */
export function asked(request) {
  const repeats = request.repeats > 1 ? `, ${request.repeats} repeats` : "";
  const tasks =
    request.tasks === null
      ? ""
      : `, ${request.tasks.length > 3 ? count(request.tasks.length, "task") : request.tasks.join(", ")}`;
  return `${request.protocol}${tasks}${request.variations === null ? "" : ", chosen variations"}${repeats}${request.limits === null ? "" : ", limits of its own"}`;
}
