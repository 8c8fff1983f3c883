// The console: chooses the page by the address, keeps one live stream for it, and hears the keyboard.

import { Live, Refused, ask, spent, token } from "./api.js";
import { ask_token, confirm_change, shortcuts, start_preheat } from "./dialogs.js";
import { $, el } from "./dom.js";
import { EventsPage } from "./events.js";
import { ListPage, cache, hosts, origins, parts, preheats, tasks } from "./lists.js";
import { Sums } from "./sums.js";
import { SwarmPage } from "./swarm.js";

const LISTS = { tasks, hosts, origins, preheats, cache };
const PAGES = [["tasks", "Tasks"], ["hosts", "Hosts"], ["origins", "Origins"], ["preheats", "Preheats"], ["cache", "Cache"], ["events", "Events"]];
const THEME = "dfengine-console-theme";

const sums = new Sums($("sums"));
let page = null;
let live = null;
let told = null;

const context = {
  ask: (path, options) => ask(path, options),
  may_change: () => told?.may_change ?? false,
  watch: listen,
  notice: (text) => {
    $("notice").textContent = text;
    $("notice").hidden = !text;
  },
  async change(path, options) {
    try {
      await ask(path, options);
      context.notice("");
      listen();
    } catch (error) {
      if (error instanceof Refused && [401, 403].includes(error.status)) unlock(error.message);
      else context.notice(error.message);
    }
  },
  confirm: confirm_change,
  start_preheat: () => start_preheat((body) => context.change("/preheats", { method: "POST", body })),
};

function listen() {
  live?.close();
  live = new Live(page?.watch ?? "", hear, connected);
}

function hear(event, data) {
  if (event === "overview") {
    const changed = told?.may_change !== data.may_change;
    told = data;
    sums.show(data);
    $("unlock").textContent = data.may_change ? "Lock" : "Unlock";
    $("unlock").hidden = data.may_change && !token.get();
    if (changed) page?.again?.();
  }
  page?.hear(event, data);
}

function connected(state, detail) {
  const [word, tone] = { live: ["live", "good"], lost: ["connecting", "warn"], locked: ["locked", "bad"] }[state];
  $("connection").textContent = word;
  $("connection").className = `badge ${tone}`;
  $("connection").title = detail;
  if (state === "locked") {
    unlock(token.get() ? "That is not the supernode's console token." : "This supernode shows nothing without its console token (--console-token-file).");
  }
}

async function unlock(why = "") {
  const given = await ask_token(why);
  if (given === null) return;
  token.set(given);
  route();
}

function route() {
  const [, name = "tasks", id] = location.hash.split("/");
  page?.close();
  context.notice("");
  if (name === "tasks" && /^[0-9a-f]{64}$/.test(id ?? "")) page = new SwarmPage(context, id);
  else if (name === "events") page = new EventsPage(context);
  else if (name === "preheats" && /^[0-9A-Za-z]{1,64}$/.test(id ?? "")) page = new ListPage(context, parts(id));
  else page = new ListPage(context, LISTS[name] ?? tasks);
  $("page").replaceChildren(page.node);
  document.title = `${PAGES.find(([key]) => key === name)?.[1] ?? "Tasks"} · dfengine`;
  for (const link of $("pages").children) {
    if (link.hash === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  listen();
}

function theme(wanted) {
  document.documentElement.dataset.theme = wanted;
  $("theme").textContent = wanted === "dark" ? "☀" : "☾";
  page?.recolour?.();
}

function turn_theme() {
  const wanted = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem(THEME, wanted);
  theme(wanted);
}

function key_down(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog").open) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const number = PAGES[Number(event.key) - 1];
  if (number) location.hash = `#/${number[0]}`;
  else if (event.key === "/") document.querySelector('input[type="search"]')?.focus();
  else if (event.key === "t") turn_theme();
  else if (event.key === "?") shortcuts();
  else if (event.key === "Escape" && page instanceof SwarmPage) location.hash = "#/tasks";
  else if (event.key === "j" && !event.target.closest("tbody")) document.querySelector("tbody tr")?.focus();
  else return;
  event.preventDefault();
}

$("pages").append(...PAGES.map(([key, text], at) => el("a", { href: `#/${key}`, text }, el("kbd", { text: String(at + 1), "aria-hidden": "true" }))));
$("theme").addEventListener("click", turn_theme);
$("help").addEventListener("click", shortcuts);
$("unlock").addEventListener("click", () => {
  if (told?.may_change) {
    token.set("");
    route();
  } else unlock();
});
addEventListener("hashchange", route);
addEventListener("keydown", key_down);
theme(localStorage.getItem(THEME) ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
route();

// For whoever measures the page: milliseconds of script, for each chunk of the stream and each frame of the map.
globalThis.script_spent = () => ({ chunks: spent, frames: page?.map?.spent ?? [] });
