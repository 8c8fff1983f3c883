// The console's dialogs: the token, confirmations, a new preheat, and the keyboard's shortcuts.

import { $, el } from "./dom.js";

// Shows a dialog; resolves with the value of `answer()` when it is confirmed, with null when it is closed.
function show(title, fields, confirm, answer, tone = "main") {
  const dialog = $("dialog");
  return new Promise((resolve) => {
    let result = null;
    const accept = () => {
      result = answer();
      dialog.close();
    };
    dialog.replaceChildren(el("h2", { id: "dialog-title", text: title }), ...fields,
      el("div", { class: "row" },
        el("button", { type: "button", text: confirm ? "Cancel" : "Close", onclick: () => dialog.close() }),
        confirm ? el("button", { type: "button", class: tone, text: confirm, onclick: accept }) : null));
    dialog.onkeydown = (event) => {
      if (event.key !== "Enter" || event.target.tagName !== "INPUT" || !confirm) return;
      event.preventDefault(); // otherwise it would press the button that regains the focus when the dialog closes
      accept();
    };
    dialog.onclose = () => resolve(result);
    if (!dialog.open) dialog.showModal();
    (dialog.querySelector("input") ?? dialog.querySelector("button")).focus();
  });
}

function field(id, label, properties) {
  return [el("label", { for: id, text: label }), el("input", { id, autocomplete: "off", spellcheck: "false", ...properties })];
}

export function ask_token(why) {
  return show("Unlock", [
    el("p", { class: "quiet", text: why || "Changes need the supernode's console token (--console-token-file)." }),
    ...field("token", "Token", { type: "password" }),
    el("p", { class: "quiet", text: "The token is kept until this tab is closed." }),
  ], "Unlock", () => $("token").value.trim());
}

export async function confirm_change(question, act) {
  if (await show("Are you sure?", [el("p", { text: question })], "Remove", () => true, "danger")) act();
}

export async function start_preheat(act) {
  const kind = el("select", { id: "kind" }, el("option", { value: "file", text: "A file" }), el("option", { value: "image", text: "A container image (URL of its manifest)" }));
  const body = await show("New preheat", [
    el("label", { for: "kind", text: "What" }), kind, ...field("url", "URL", { type: "url", placeholder: "https://…" }),
  ], "Fetch", () => ({ type: kind.value, url: $("url").value.trim() }));
  if (body?.url) act(body);
}

const KEYS = [
  ["/", "Search"], ["j  k  ↓  ↑", "Rows of a table, or hosts of the map"], ["Enter", "Open a task"],
  ["Esc", "Close a task, leave a field"], ["t", "Switch light and dark"], ["?", "This list"],
];

// pages: number of pages.
export function shortcuts(pages) {
  show("Keyboard", [el("dl", { class: "keys" }, ...[[`1 – ${pages}`, "Pages"], ...KEYS].flatMap(([keys, text]) => [el("dt", {}, el("kbd", { text: keys })), el("dd", { text })]))]);
}
