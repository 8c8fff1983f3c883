// Elements, made of text alone: whatever a name holds, it is never markup.

export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Sets a text only where it differs, so that what stays is neither laid out nor painted again.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function badge(word, tone = "") {
  return el("span", { class: `badge ${tone}`, text: word });
}

export function clear(node) {
  node.replaceChildren();
}

export const $ = (id) => document.getElementById(id);
