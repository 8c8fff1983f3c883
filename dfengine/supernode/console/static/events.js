// The latest events, the newest first; new ones are added on top.

import { badge, clear, el } from "./dom.js";
import { short } from "./format.js";

const TONES = { info: "", warning: "warn", error: "bad" };
const MOST = 400;
const TASK = /^[0-9a-f]{64}$/;

export class EventsPage {
  constructor(context) {
    this.context = context;
    this.level = "info";
    this.list = el("div", { class: "scroll", role: "log", "aria-live": "off", "aria-label": "Events" });
    this.ids = new Set();
    const choice = el("select", { "aria-label": "Level", onchange: (event) => this.choose(event.target.value) },
      ...[["info", "All"], ["warning", "Warnings and errors"], ["error", "Errors"]].map(([value, text]) => el("option", { value, text })));
    this.node = el("div", {}, el("div", { class: "head" }, el("h1", { text: "Events" }), choice), this.list);
    this.load();
  }

  watch = "";

  choose(level) {
    this.level = level;
    this.load();
  }

  async load() {
    try {
      const { items } = await this.context.ask(`/events?limit=200&level=${this.level}`);
      clear(this.list);
      this.ids.clear();
      for (const item of items.reverse()) this.add(item);
      if (!items.length) this.list.append(el("p", { class: "empty", text: "There are no events yet." }));
    } catch (error) {
      if (error.status) this.context.notice(error.message);
    }
  }

  hear(event, data) {
    const levels = Object.keys(TONES);
    if (event === "event" && levels.indexOf(data.level) >= levels.indexOf(this.level)) this.add(data);
  }

  add(item) {
    const id = `${item.id} ${item.time}`; // ids restart with the supernode
    if (this.ids.has(id)) return;
    this.ids.add(id);
    this.list.querySelector(".empty")?.remove();
    const fields = Object.entries(item.fields).flatMap(([key, value]) => [
      `${key}=`, key === "task" && TASK.test(value) ? el("a", { href: `#/tasks/${value}`, text: short(value), title: value }) : el("bdi", { text: value }), "  ",
    ]);
    this.list.prepend(el("div", { class: "event" },
      el("time", { class: "quiet", datetime: item.time, title: item.time, text: new Date(item.time).toLocaleTimeString("en-GB") }),
      el("span", {}, badge(item.level, TONES[item.level])), el("strong", { text: item.event.replaceAll("_", " ") }),
      el("span", { class: "fields" }, ...fields)));
    while (this.list.children.length > MOST) this.list.lastChild.remove();
  }

  close() {}
}
