// The tiles at the top of each page: sums over the supernode, two of them with a graph of the last minutes.

import { $, el, say } from "./dom.js";
import { bytes, count, counted, percent, rate } from "./format.js";

const KEPT = 120;

const TILES = [
  ["To downloads", (told) => rate(told.rate), (told) => `${bytes(told.delivered_bytes)} in total`, "rate"],
  ["From origins", (told) => rate(told.origin_rate), (told) => `${bytes(told.origin_bytes)} in total`, "origin_rate"],
  ["Saved", (told) => percent(told.saved_bytes, told.delivered_bytes), (told) => `${bytes(told.saved_bytes)} in total`],
  ["Downloads", (told) => count(told.unfinished), (told) => `of ${count(told.downloads)} unfinished`],
  ["Tasks", (told) => count(told.tasks), (told) => `${counted(told.failed, "download")} failed`],
  ["Sources", (told) => count(told.peers), (told) => `${count(told.isolated_peers)} isolated`],
  ["Free", (told) => bytes(told.free_bytes), () => "for copies"],
];

export class Sums {
  constructor(node) {
    this.tiles = TILES.map(([title, , , series]) => {
      const tile = { big: el("dd", { text: "–" }), small: el("small"), series: series ? [] : null, canvas: null };
      if (series) tile.canvas = el("canvas", { "aria-hidden": "true", width: "240", height: "52" });
      node.append(el("dl", { class: "tile" }, el("dt", { text: title }), tile.big, tile.small, tile.canvas));
      return tile;
    });
  }

  show(told) {
    TILES.forEach(([, big, small, series], at) => {
      const tile = this.tiles[at];
      say(tile.big, big(told));
      say(tile.small, small(told));
      if (!series) return;
      tile.series.push(told[series] ?? 0);
      if (tile.series.length > KEPT) tile.series.shift();
      this.draw(tile);
    });
    say($("node"), `${told.address} · ${told.version}${told.hindrance ? ` · not ready: ${told.hindrance}` : ""}${told.cluster === "lost" ? " · the cluster's Redis does not answer" : ""}`);
  }

  draw({ canvas, series }) {
    const context = canvas.getContext("2d");
    const most = Math.max(1, ...series);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (series.length < 2) return;
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent-soft");
    context.beginPath();
    context.moveTo(canvas.width, canvas.height);
    series.toReversed().forEach((value, at) => context.lineTo(canvas.width * (1 - at / (KEPT - 1)), canvas.height * (1 - (0.95 * value) / most)));
    context.lineTo(canvas.width * (1 - (series.length - 1) / (KEPT - 1)), canvas.height);
    context.fill();
  }
}
