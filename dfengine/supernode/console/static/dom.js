// Elements made of text alone: a name is never markup, and cannot change the direction or layout of the text beside it.

// Control, format (writing direction, zero width), unassigned and break characters; except those with which `apart` isolates a name.
const STEERS = /(?![\u2068\u2069])[\p{C}\p{Zl}\p{Zp}]/gu;

export const printable = (text) => String(text).replace(STEERS, "?");

// Isolates a name from the text after it, so that a right-to-left name does not move that text.
export const apart = (text) => `\u2068${printable(text).replace(/[\u2068\u2069]/g, "?")}\u2069`;

export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") made.textContent = printable(value);
    else if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : name === "title" ? printable(value) : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined).map((child) => (child instanceof Node ? child : printable(child))));
  return made;
}

// Sets a text only if it differs, so that unchanged elements are neither laid out nor painted again.
export function say(node, text) {
  const shown = printable(text);
  if (node.textContent !== shown) node.textContent = shown;
}

// Sets the tooltip.
export function hint(node, text) {
  const shown = printable(text);
  if (node.title !== shown) node.title = shown;
}

export function badge(word, tone = "") {
  return el("span", { class: `badge ${tone}`, text: word });
}

export function clear(node) {
  node.replaceChildren();
}

export const $ = (id) => document.getElementById(id);
