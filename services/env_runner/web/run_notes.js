// What people wrote about a run: its name, tags and a note. They are kept in the run's folder.

import { api } from "./api.js";
import { el } from "./dom.js";
import { field } from "./forms.js";

export class Notes {
  constructor(id, signal) {
    this.id = id;
    this.shown = el("p", { class: "written" });
    this.element = el("section", { class: "notes", "aria-label": "Name, tags and note" }, this.shown);
    api.notes(id, signal).then(
      (notes) => this.show(notes),
      () => {}, // a run without a folder yet
    );
  }

  show(notes) {
    const isEmpty = !notes.name && !notes.tags.length && !notes.note;
    const label = isEmpty ? "Add a name, tags or a note" : "Edit name, tags and note";
    const edit = el("button", { type: "button", class: "quiet", click: () => this.edit(notes) }, label);
    this.shown.replaceChildren(
      ...(notes.name ? [el("strong", {}, notes.name), " "] : []),
      ...notes.tags.map((tag) => el("span", { class: "badge tag" }, tag)),
      notes.note ? el("span", { class: "words" }, ` ${notes.note} `) : " ",
      edit,
    );
    this.element.replaceChildren(this.shown);
  }

  edit(notes) {
    const name = field("Name", el("input", { name: "name", maxlength: 200, value: notes.name }));
    const tags = field(
      "Tags",
      el("input", { name: "tags", value: notes.tags.join(", ") }),
      "Separate tags with commas.",
    );
    const text = el("textarea", { name: "note", maxlength: 4000, rows: 3 });
    text.value = notes.note;
    const note = field("Note", text);
    const submit = async (event) => {
      event.preventDefault();
      try {
        const list = tags.control.value.split(",").map((tag) => tag.trim());
        const changed = { name: name.control.value.trim(), tags: list.filter(Boolean), note: text.value.trim() };
        this.show(await api.writeNotes(this.id, changed));
      } catch (error) {
        note.complain(error.message);
      }
    };
    const discard = () => this.show(notes);
    this.element.replaceChildren(
      el(
        "form",
        { class: "fields", submit },
        [name, tags, note].map(({ element }) => element),
        el(
          "p",
          { class: "actions" },
          el("button", { type: "submit" }, "Save"),
          el("button", { type: "button", click: discard }, "Discard"),
        ),
      ),
    );
    name.control.focus();
  }
}
