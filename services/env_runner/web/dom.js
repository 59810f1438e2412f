// Elements of the page. Text reaches it through text nodes alone, whatever an episode may have said.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. A function among the attributes listens to the event of its name; null and false leave an attribute out.
 * Children are nodes, or anything else as text.
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
  element.append(
    ...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false && child !== ""),
  );
  return element;
}

/** Set the text of an element only where it differs, so that what a reader has selected stays selected. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Make the children of `parent` show `items`, in their order. The node of an item stays the same as long as the item is
 * there, so that links can be clicked and focus stays while a page updates itself.
 * `id` names an item, `make` builds its node.
 */
export function syncChildren(parent, items, id, make) {
  const before = new Map([...parent.children].map((child) => [child.dataset.id, child]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const name = id(item);
    const shown = JSON.stringify(item);
    let node = before.get(name);
    before.delete(name);
    if (node === undefined) {
      node = make(item);
      node.dataset.id = name;
    } else if (node.shown !== shown) {
      updateRow(node, make(item));
    }
    node.shown = shown;
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
  for (const node of before.values()) node.remove();
}

/** Make a row equal to `wanted`, cell by cell. Equal cells stay. */
function updateRow(row, wanted) {
  row.className = wanted.className;
  const before = [...row.children];
  const cells = [...wanted.children];
  cells.forEach((cell, place) => {
    if (before[place] === undefined) row.append(cell);
    else if (!before[place].isEqualNode(cell)) before[place].replaceWith(cell);
  });
  for (const rest of before.slice(cells.length)) rest.remove();
}

// --- tables ---------------------------------------------------------------------------------------------------------

/** A cell under a heading; narrow screens show the heading beside it. */
export const cell = (heading, attributes, ...children) =>
  el("td", { "data-label": heading, ...attributes }, ...children);

/** A cell with a number. */
export const number = (value, attributes = {}) =>
  el("td", { ...attributes, class: `figure ${attributes.class ?? ""}` }, value);

/** The head of a table: names, or `th` elements. */
export const tableHead = (...names) =>
  el(
    "thead",
    {},
    el(
      "tr",
      {},
      names.map((name) => (typeof name === "string" ? el("th", { scope: "col" }, name) : name)),
    ),
  );

/** The heading of a column of numbers. */
export const numberHead = (name, kind = "") => el("th", { scope: "col", class: `figure ${kind}` }, name);

/** A table that scrolls sideways inside the page where it is too wide. */
export const wide = (label, table) =>
  el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": label }, table);

/** A table whose rows become cards on narrow screens, with the headings beside their cells. */
export function stacked(table) {
  const names = [...table.tHead.rows[0].cells].map((head) => head.textContent);
  for (const row of table.querySelectorAll("tbody tr"))
    [...row.cells].forEach((cell, place) => (cell.dataset.label = names[place]));
  table.classList.add("cards");
  return table;
}

/** Save a blob as a file of that name. */
export function saveFile(blob, name) {
  const address = URL.createObjectURL(blob);
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
