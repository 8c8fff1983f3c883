// One task: its figures, the map of pieces over hosts, the transfers in progress, the slowest host and the reason.

import { bits, toggle } from "./bitset.js";
import { apart, badge, clear, el, hint, say } from "./dom.js";
import { ago, brief, bytes, count, counted, name, percent, rate, short } from "./format.js";
import { PieceMap } from "./map.js";

const KINDS = { finished: "done", fetching: "have", waiting: "have", quiet: "quiet" };
const WIDE = new Set(["URL", "Origin retried", "Failed"]);
const kind = (host) => (host.slow && host.state !== "finished" ? "slow" : KINDS[host.state]);

export class SwarmPage {
  constructor(context, task) {
    this.context = context;
    this.task = task;
    this.hosts = new Map(); // n -> row of the map
    this.order = [];
    this.picked = -1;
    this.copy = { kind: "copy", packed: "", n: -1 };
    this.pieces = 0;
    this.links = [];
    this.build();
    this.load();
  }

  get watch() {
    return `/tasks/${this.task}/swarm`;
  }

  build() {
    this.title = el("h1", { text: short(this.task) });
    this.state = el("span");
    this.facts = el("dl", { class: "facts" });
    this.canvas = el("canvas", {
      tabindex: "0", role: "img", "aria-describedby": "picked", width: "1", height: "1",
      "aria-label": "Pieces over hosts. Arrow keys select a host.",
    });
    this.feeds = el("canvas", { class: "feeds", "aria-hidden": "true", width: "1", height: "1" });
    this.pick = el("div", { class: "pick", hidden: true });
    this.labels = el("div", { class: "labels", "aria-hidden": "true" });
    this.holder = el("div", { class: "map" }, this.labels, this.canvas, this.feeds, this.pick);
    this.size = el("span", { class: "quiet" });
    this.details = el("div", { id: "picked", "aria-live": "polite" });
    this.slowest = el("div");
    this.sources = el("ol", { class: "list" });
    const keys = [["copy", "supernode's copy"], ["have", "fetching"], ["done", "finished"], ["slow", "slow link"], ["quiet", "quiet"], ["new", "new piece"]];
    const legend = el("div", { class: "legend" }, ...keys.map(([key, text]) => el("span", {}, el("i", { class: `key-${key}` }), text)));
    this.card = el("div", { class: "card", hidden: true }, this.facts);
    this.why_empty = el("p", { class: "empty", hidden: true });
    this.body = el("div", { class: "swarm", hidden: true },
        el("div", { class: "card" }, el("div", { class: "head" }, el("h2", { text: "Pieces over hosts" }), this.size), this.holder, legend),
        el("div", {},
          el("div", { class: "card" }, el("h2", { text: "Slowest host" }), this.slowest),
          el("div", { class: "card" }, el("h2", { text: "Host" }), this.details),
          el("div", { class: "card" }, el("h2", { text: "Busiest senders" }), this.sources)));
    this.node = el("div", {},
      el("div", { class: "head" }, el("a", { href: "#/tasks", text: "Tasks" }), el("span", { class: "quiet", text: "/" }), this.title, this.state),
      this.card, this.why_empty, this.body);
    this.map = new PieceMap(this.canvas, this.feeds);
    this.canvas.addEventListener("keydown", (event) => this.key_down(event));
    this.canvas.addEventListener("click", (event) => this.choose(this.at(event)));
    this.canvas.addEventListener("mousemove", (event) => this.choose(this.at(event)));
    this.choose(-1);
    this.resized = () => {
      clearTimeout(this.later);
      this.later = setTimeout(() => this.order.length && this.lay_out({ pieces: this.pieces }), 200);
    };
    addEventListener("resize", this.resized);
  }

  async load() {
    let pause = 2000;
    if (!document.hidden) {
      try {
        const told = await this.context.ask(`/tasks/${this.task}`);
        if (this.closed) return;
        this.show_facts(told);
        say(this.why_empty, "No download of this task is registered.");
        this.complain(null);
      } catch (error) {
        if (this.closed) return;
        if (error.status !== 404) this.complain(error);
        else {
          await this.load_copy();
          pause = 10000;
        }
      }
    }
    if (!this.closed) this.timer = setTimeout(() => this.load(), pause);
  }

  // A copy that was not used for a while is on the disk without a task in memory.
  async load_copy() {
    try {
      const copy = await this.context.ask(`/cache/${this.task}`);
      if (this.closed) return;
      this.show_copy(copy);
      say(this.why_empty, "No download uses this copy now.");
      this.complain(null);
    } catch (error) {
      if (this.closed) return;
      if (error.status !== 404) return this.complain(error);
      this.card.hidden = true;
      clear(this.state);
      say(this.why_empty, "The supernode has neither a task in memory nor a copy on its disk with this name.");
    }
  }

  // Shows an error response; an unreachable supernode is reported elsewhere. Clears only notices of its own.
  complain(error) {
    const text = error?.status ? error.message : "";
    if (text || this.complained) this.context.notice(text);
    this.complained = text !== "";
  }

  show_copy(copy) {
    say(this.title, name(copy.url));
    hint(this.title, copy.url);
    this.state.replaceChildren(copy.pinned ? badge("pinned", "accent") : badge("unused"));
    this.fill([
      ["URL", copy.url], ["Size", bytes(copy.length)], ["On disk", bytes(copy.taken)], ["Complete", percent(copy.here, copy.pieces)], ["Last used", ago(copy.used)],
    ]);
  }

  show_facts(told) {
    say(this.title, name(told.url));
    hint(this.title, told.url);
    const tones = { SUCCESS: "good", RUNNING: "accent", WAITING: "warn", FAILED: "bad" };
    const words = { SUCCESS: "copied", RUNNING: "fetching", WAITING: "waiting", FAILED: "failed" };
    this.state.replaceChildren(badge(words[told.state], tones[told.state]));
    const facts = [
      ["URL", told.url], ["Size", `${bytes(told.length)} in ${told.pieces < 0 ? "? pieces" : counted(told.pieces, "piece")}`],
      ["Supernode's copy", percent(told.cached, told.pieces)],
      ["Downloads", `${count(told.downloads - told.unfinished)} of ${count(told.downloads)} complete`],
      ["To downloads", rate(told.rate)], ["From the origin", `${bytes(told.origin_bytes)}, ${rate(told.origin_rate)}`],
      ["From the supernode", bytes(told.from_supernode_bytes)], ["From peers", bytes(told.from_peers_bytes)],
      ["Saved", `${bytes(told.saved_bytes)} of ${bytes(told.delivered_bytes)}`],
    ];
    if (told.waits) facts.push(["Origin retried", told.waits]);
    if (told.error) facts.push(["Failed", told.error]);
    this.fill(facts);
  }

  fill(facts) {
    this.card.hidden = false;
    while (this.facts.children.length > facts.length) this.facts.lastChild.remove();
    facts.forEach(([term, text], at) => {
      if (!this.facts.children[at]) this.facts.append(el("div", {}, el("dt"), el("dd")));
      this.facts.children[at].className = WIDE.has(term) ? "wide" : "";
      say(this.facts.children[at].firstChild, term);
      say(this.facts.children[at].lastChild, text);
    });
  }

  hear(event, data) {
    if (event === "swarm") this.snapshot(data);
    else if (event === "swarm_change") this.change(data);
    else if (event === "gone") {
      this.hosts.clear();
      this.order = [];
      this.body.hidden = true;
      this.why_empty.hidden = false;
    }
  }

  snapshot(data) {
    this.body.hidden = false; // before the layout, which reads the width
    this.why_empty.hidden = true;
    this.hosts.clear();
    for (const host of data.hosts) this.add(host);
    Object.assign(this.copy, { packed: data.cached, have: null });
    this.lay_out(data);
    this.show(data);
  }

  add(host) {
    this.hosts.set(host.n, { ...host, packed: host.have, have: null, kind: kind(host), fresh: new Map() });
  }

  lay_out(data) {
    this.pieces = Math.max(data.pieces, 0) || Math.max(0, ...[this.copy, ...this.hosts.values()].map((row) => row.have?.length * 8 || row.packed.length * 6));
    this.order = [this.copy, ...this.hosts.values()];
    this.places = new Map(this.order.map((row, at) => [row.n, at]));
    this.map.set(this.order, this.pieces);
    const labelled = this.map.height >= 16;
    this.labels.hidden = !labelled;
    this.labels.replaceChildren(...(labelled ? this.order.map((row) => {
      const line = el("div", { text: row === this.copy ? "supernode" : row.host ? `${apart(brief(row.host, 14))} ${row.ip}` : row.ip });
      line.style.height = line.style.lineHeight = `${this.map.height}px`;
      return line;
    }) : []));
    this.choose(Math.min(this.picked, this.order.length - 1));
  }

  change(data) {
    const now = performance.now();
    for (const n of data.left) this.hosts.delete(n);
    for (const host of data.joined) this.add(host);
    if (data.cached !== null) Object.assign(this.copy, { packed: data.cached, have: null });
    const moved = data.left.length || data.joined.length || (data.pieces >= 0 && data.pieces !== this.pieces);
    for (const each of data.changed) {
      const row = this.hosts.get(each.n);
      if (!row) continue;
      const { have, toggled, ...fields } = each;
      Object.assign(row, fields);
      row.kind = kind(row);
      if (have !== undefined && have !== null) Object.assign(row, { packed: have, have: null });
      else if (toggled) {
        row.have = toggle(bits(row, this.pieces), toggled);
        for (const piece of toggled) row.fresh.set(piece, now);
      }
      if (!moved) this.map.touch(this.places.get(each.n));
    }
    if (moved) this.lay_out(data);
    else if (data.cached !== null) this.map.touch(0);
    this.show(data);
  }

  show(data) {
    const shown = this.hosts.size;
    say(this.size, `${count(shown)}${data.total > shown ? ` of ${count(data.total)}` : ""} ${Math.max(shown, data.total) === 1 ? "host" : "hosts"} × ${counted(this.pieces, "piece")}`);
    this.map.draw_feeds(data.feeds.map(([from, to]) => [this.places.get(from), this.places.get(to)]).filter(([a, b]) => a !== undefined && b !== undefined));
    this.links = data.feeds;
    clear(this.slowest);
    if (data.slowest) {
      const host = this.hosts.get(data.slowest.n);
      this.slowest.append(
        el("p", {}, el("strong", { text: brief(host?.host ?? "") || "?" }), " ", el("span", { class: "quiet mono", text: host?.ip ?? "" })),
        el("p", {}, badge(data.slowest.reason.replace("_", " "), "warn"), " ", el("span", { text: data.slowest.text })),
        el("p", { class: "quiet", text: `${percent(host?.got ?? 0, this.pieces)} of the pieces` }));
    } else this.slowest.append(el("p", { class: "quiet", text: this.hosts.size ? "All have finished." : "There are no downloads." }));
    const most = new Map();
    for (const [from, , pieces] of data.feeds) most.set(from, (most.get(from) ?? 0) + pieces);
    const top = [...most].sort((a, b) => b[1] - a[1]).slice(0, 8);
    this.sources.replaceChildren(...top.map(([n, pieces]) => el("li", {},
      el("span", { text: this.label(n) }), el("span", { class: "quiet", text: `${pieces} under way` }))));
    if (!top.length) this.sources.append(el("li", { class: "quiet", text: "No piece is under way." }));
    this.detail();
  }

  label(n) {
    if (n === -1) return "supernode";
    const host = this.hosts.get(n);
    return host ? `${apart(brief(host.host) || "?")} (${host.ip})` : "?";
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return Math.floor(((event.clientY - box.top) / box.height) * this.order.length);
  }

  choose(at) {
    this.picked = at;
    this.pick.hidden = at < 0;
    if (at >= 0) {
      this.pick.style.top = `${at * this.map.height}px`;
      this.pick.style.height = `${this.map.height}px`;
      this.pick.style.left = `${this.canvas.offsetLeft}px`;
    }
    this.detail();
  }

  detail() {
    const row = this.order[this.picked];
    if (!row) return this.details.replaceChildren(el("p", { class: "quiet", text: "Point at a row, or select one with the arrow keys." }));
    if (row === this.copy) return this.details.replaceChildren(el("p", { text: "The supernode's own copy" }));
    const from = this.links.filter(([, to]) => to === row.n).map(([source]) => this.label(source));
    const to = this.links.filter(([source]) => source === row.n).map(([, receiver]) => this.label(receiver));
    const facts = [
      ["Name", brief(row.host, 200) || "?"], ["Address", row.ip === row.address ? row.ip : `${row.ip} (from ${row.address})`],
      ["Pieces", `${counted(row.got, "piece")}, ${percent(row.got, this.pieces)}`], ["State", `${row.state}${row.slow ? ", on a slow link" : ""}`],
      ["As a source", row.trust], ["Version", brief(row.version) || "–"], ["Location", brief(row.location) || "–"],
      ["Receives from", from.slice(0, 6).join(", ") || "–"], ["Sends to", to.slice(0, 6).join(", ") || "–"],
    ];
    this.details.replaceChildren(el("dl", { class: "facts close" }, ...facts.map(([term, text]) => el("div", {}, el("dt", { text: term }), el("dd", { text })))));
  }

  key_down(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 }[event.key];
    if (!step) return;
    event.preventDefault();
    this.choose(Math.max(0, Math.min(this.order.length - 1, Math.max(0, this.picked) + step)));
    const top = this.picked * this.map.height;
    if (top < this.holder.scrollTop || top > this.holder.scrollTop + this.holder.clientHeight - this.map.height) {
      this.holder.scrollTop = top - this.holder.clientHeight / 2;
    }
  }

  recolour() {
    this.map.recolour();
    this.map.draw_feeds(this.map.links);
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    clearTimeout(this.later);
    removeEventListener("resize", this.resized);
    this.map.close();
  }
}
