// A table whose rows are reused by their keys: an update changes only the cells that differ, and moves rows whose place has changed.

import { clear, el, hint, say } from "./dom.js";

// columns: {title, name (for sorting), num, kind (a class of its cells), text(row), small(row), hint(row), draw(cell, row)}. draw fills the cell itself.
export class Table {
  constructor({ columns, key, open, sort, empty }) {
    this.columns = columns;
    this.key = key;
    this.open = open;
    this.sort = sort;
    this.rows = new Map();
    this.heads = columns.map((column) => this.head(column));
    this.body = el("tbody");
    this.table = el("table", {}, el("thead", {}, el("tr", {}, ...this.heads)), this.body);
    this.none = el("p", { class: "empty", text: empty, hidden: true });
    this.node = el("div", { class: "scroll" }, this.table, this.none);
    this.body.addEventListener("keydown", (event) => this.key_down(event));
  }

  head(column) {
    const inside = column.name && this.sort
      ? el("button", { type: "button", text: column.title, onclick: () => this.sort(column.name) })
      : column.title;
    return el("th", { class: column.num ? "num" : "", scope: "col" }, inside);
  }

  sorted(name, order) {
    this.columns.forEach((column, at) => {
      if (column.name === name) this.heads[at].setAttribute("aria-sort", order === "desc" ? "descending" : "ascending");
      else this.heads[at].removeAttribute("aria-sort");
    });
  }

  update(items) {
    const seen = new Set();
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    let before = null;
    for (const item of items) {
      const key = this.key(item);
      seen.add(key);
      let row = this.rows.get(key);
      if (!row) this.rows.set(key, (row = this.make()));
      row.item = item;
      this.columns.forEach((column, at) => this.fill(row.cells[at], column, item));
      const place = before ? before.nextSibling : this.body.firstChild;
      if (place !== row.node) this.body.insertBefore(row.node, place);
      before = row.node;
    }
    for (const [key, row] of this.rows) {
      if (!seen.has(key)) {
        row.node.remove();
        this.rows.delete(key);
      }
    }
    if (focused?.isConnected) focused.focus({ preventScroll: true }); // a row loses the focus when it is moved
    this.none.hidden = items.length > 0;
    this.table.hidden = items.length === 0;
  }

  make() {
    const cells = this.columns.map((column) => el("td", { class: column.kind ?? (column.num ? "num" : ""), "data-title": column.title }));
    const row = { cells, item: null, node: null };
    row.node = el("tr", { tabindex: this.open ? "0" : undefined }, ...cells);
    row.node.addEventListener("dblclick", () => this.open?.(row.item));
    row.node.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target === row.node) this.open?.(row.item);
    });
    return row;
  }

  fill(cell, column, item) {
    if (column.draw) return column.draw(cell, item);
    if (column.hint) hint(cell, column.hint(item));
    if (!column.small) return say(cell, column.text(item));
    if (!cell.firstChild) cell.append(el("span"), el("small"));
    say(cell.firstChild, column.text(item));
    say(cell.lastChild, column.small(item));
  }

  key_down(event) {
    const step = { ArrowDown: "nextSibling", j: "nextSibling", ArrowUp: "previousSibling", k: "previousSibling" }[event.key];
    if (!step || event.target.tagName !== "TR") return;
    event.target[step]?.focus();
    event.preventDefault();
  }

  clear() {
    this.rows.clear();
    clear(this.body);
  }
}

// Fills a cell with a link, and a second line.
export function link(cell, text, href, small, title) {
  if (!cell.firstChild) cell.append(el("a"), el("small"));
  const [anchor, line] = cell.children;
  say(anchor, text);
  if (anchor.getAttribute("href") !== href) anchor.setAttribute("href", href);
  hint(anchor, title);
  say(line, small);
}

// Fills a cell with a bar and its text. part: 0 to 1.
export function bar(cell, part, text) {
  if (!cell.firstChild) cell.append(el("div", { class: "bar" }, el("progress", { max: "1" }), el("span")));
  const [progress, label] = cell.firstChild.children;
  const value = Math.round(part * 1000) / 1000;
  if (progress.value !== value) progress.value = value;
  progress.setAttribute("aria-label", text);
  say(label, text);
}

// Fills a cell with a badge.
export function mark(cell, word, tone, title = "") {
  if (!cell.firstChild) cell.append(el("span"));
  const node = cell.firstChild;
  say(node, word);
  if (node.className !== `badge ${tone}`) node.className = `badge ${tone}`;
  hint(node, title);
}
