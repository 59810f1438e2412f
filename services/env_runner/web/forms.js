// Fields of forms with a place for what is wrong with them, and the question before something is cancelled.

import { Refused } from "./api.js";
import { el } from "./dom.js";

/** What a page that plays shows where the dashboard has no services to play with. */
export const onlyShows = (heading) => [
  el("h1", {}, heading),
  el(
    "p",
    { class: "empty" },
    "This dashboard only shows run folders. Start the services to play: ",
    el("code", {}, "./run up"),
  ),
];

/** A labelled field, with a hint and a place for what is wrong with it. */
export function field(label, control, hint = "") {
  const name = control.name;
  control.id = `field-${name}`;
  const wrong = el("span", { class: "wrong", id: `wrong-${name}`, role: "alert" });
  const hintElement = el("span", { class: "hint", id: `hint-${name}` }, hint);
  control.setAttribute("aria-describedby", `hint-${name} wrong-${name}`);
  const complain = (message) => {
    wrong.textContent = message ?? "";
    if (message) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
  };
  const element = el("div", { class: "field" }, el("label", { for: control.id }, label), control, hintElement, wrong);
  return { element, control, complain, hint: (text) => (hintElement.textContent = text) };
}

/** A choice among `[value, words]`. */
export function select(name, entries, value) {
  const element = el(
    "select",
    { name },
    entries.map(([key, words]) => el("option", { value: key }, words)),
  );
  if (value !== undefined) element.value = value;
  return element;
}

export const numberInput = (name, value, min, max, required = true) =>
  el("input", { type: "number", name, value, min, max, required });

/**
 * A group of checkboxes `[value, label, description]` under a legend, with a place for what is wrong.
 * `value()` lists what is checked.
 */
export function checkboxes(name, legend, entries, checked = []) {
  const boxes = entries.map(([value]) =>
    el("input", { type: "checkbox", name, value, checked: checked.includes(value) }),
  );
  const wrong = el("p", { class: "wrong", id: `wrong-${name}`, role: "alert" });
  const element = el(
    "fieldset",
    { id: `field-${name}`, "aria-describedby": `wrong-${name}` },
    el("legend", {}, legend),
    entries.map(([, label, description], place) =>
      el(
        "label",
        { class: "choice" },
        boxes[place],
        el("span", {}, label, description && el("span", { class: "note" }, ` ${description}`)),
      ),
    ),
    wrong,
  );
  const complain = (message) => (wrong.textContent = message ?? "");
  const value = () => boxes.filter((box) => box.checked).map((box) => box.value);
  return { element, boxes, complain, value, control: boxes[0] };
}

/**
 * Show what a service refused beside the fields that it names; what belongs to no field is told to `otherwise`.
 * `fields` are by name; `aliases` are names of the service that mean another field.
 */
export function showProblems(error, fields, otherwise, aliases = {}) {
  const problems =
    error instanceof Refused && error.errors.length ? error.errors : [{ field: "", message: error.message }];
  let first = true;
  for (const problem of problems) {
    const path = problem.field.replace(/^body\./, "");
    const known = fields[aliases[path] ?? path.split(".")[0]];
    const message = problem.message || error.message;
    if (!known) {
      otherwise(path ? `${path}: ${message}` : message);
      continue;
    }
    known.complain(message);
    const folded = known.element.closest("details");
    if (folded) folded.open = true;
    if (first) known.control?.focus();
    first = false;
  }
}

/** Ask before something that is not easily undone; resolves with whether the reader confirmed it. */
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
        el("button", { type: "button", autofocus: true, click: answer(false) }, "Keep it running"),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}
