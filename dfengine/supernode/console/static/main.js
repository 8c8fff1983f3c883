// The console: selects the page by the address, opens one live stream for it, and handles the keyboard.

import { Refused, ask, token } from "./api.js";
import { Connection } from "./connection.js";
import { ask_token, confirm_change, shortcuts, start_preheat } from "./dialogs.js";
import { $, el } from "./dom.js";
import { EventsPage } from "./events.js";
import { Live, spent } from "./live.js";
import { ListPage, cache, cluster, hosts, origins, parts, preheats, tasks } from "./lists.js";
import { Sums } from "./sums.js";
import { SwarmPage } from "./swarm.js";

const LISTS = { tasks, hosts, origins, preheats, cache, cluster };
const PAGES = [["tasks", "Tasks"], ["hosts", "Hosts"], ["origins", "Origins"], ["preheats", "Preheats"], ["cache", "Cache"], ["events", "Events"], ["cluster", "Cluster"]];
const THEME = "dfengine-console-theme";

const sums = new Sums($("sums"));
let page = null;
let live = null;
let told = null;

const connection = new Connection($("connection"), $("trouble"));
const WRONG = "That is not the supernode's console token.";

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

// A hidden page has no stream: a browser opens few connections to one server, and a supernode few streams.
function listen() {
  live?.close();
  if (document.hidden) return connection.say("paused", "");
  if (connection.state === "paused") connection.say("connecting", "");
  live = new Live(page?.watch ?? "", hear, connected, live?.last);
}

function hear(event, data) {
  if (event === "overview") {
    const changed = told?.may_change !== data.may_change;
    told = data;
    connection.heard();
    sums.show(data);
    link("cluster").hidden = !may_see("cluster");
    if (token.get() && !data.may_change) {
      token.set("");
      context.notice("The supernode does not accept the token of this tab any more.");
    }
    $("unlock").textContent = data.may_change ? "Lock" : "Unlock";
    $("unlock").hidden = data.may_change && !token.get();
    if (changed) page?.again?.();
  }
  page?.hear(event, data);
}

const link = (name) => [...$("pages").children].find((each) => each.hash === `#/${name}`);

// The cluster's page is hidden without a cluster.
const may_see = (name) => name !== "cluster" || (told !== null && told.cluster !== "none");

function connected(state, detail) {
  connection.say(state, detail);
  if (state === "locked") unlock(token.get() ? WRONG : "This supernode shows no data without its console token (--console-token-file).");
}

// Asks until the token is right, or the dialog is cancelled.
async function unlock(why = "") {
  for (;;) {
    const given = await ask_token(why);
    if (!given) return;
    try {
      if ((await ask("/overview", { shown: given })).may_change) {
        token.set(given);
        return route();
      }
      why = `${WRONG} A supernode without --console-token-file has none.`;
    } catch (error) {
      why = error.status === 401 ? WRONG : error.message;
    }
  }
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

function help() {
  shortcuts(PAGES.filter(([name]) => may_see(name)).length);
}

function key_down(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog").open) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const number = PAGES[Number(event.key) - 1];
  if (number && may_see(number[0])) location.hash = `#/${number[0]}`;
  else if (event.key === "/") document.querySelector('input[type="search"]')?.focus();
  else if (event.key === "t") turn_theme();
  else if (event.key === "?") help();
  else if (event.key === "Escape" && page instanceof SwarmPage) location.hash = "#/tasks";
  else if (event.key === "j" && !event.target.closest("tbody")) document.querySelector("tbody tr")?.focus();
  else return;
  event.preventDefault();
}

$("pages").append(...PAGES.map(([key, text], at) => el("a", { href: `#/${key}`, text }, el("kbd", { text: String(at + 1), "aria-hidden": "true" }))));
link("cluster").hidden = true;
$("theme").addEventListener("click", turn_theme);
$("help").addEventListener("click", help);
$("unlock").addEventListener("click", () => {
  if (told?.may_change) {
    token.set("");
    route();
  } else unlock();
});
addEventListener("hashchange", route);
document.addEventListener("visibilitychange", listen);
addEventListener("keydown", key_down);
theme(localStorage.getItem(THEME) ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
route();

// For benchmarks of the page: milliseconds of script, for each chunk of the stream and each frame of the map.
globalThis.script_spent = () => ({ chunks: spent, frames: page?.map?.spent ?? [] });
