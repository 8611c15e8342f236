import { byId } from "../page/dom.js";
import { keep, kept } from "../page/kept.js";
import { say } from "../page/language.js";
import { count, milliseconds, rate } from "../page/text.js";
import { Tile } from "../page/tile.js";

const TILES = [
  { name: "published", title: "Published", unit: "a second", text: rate },
  { name: "delivered", title: "Delivered", unit: "a second", text: rate },
  { name: "connections", title: "Connections", text: count },
  { name: "commit", title: "Commit", unit: "ms", text: milliseconds },
];

/** By tile, its number in a `stats`. */
const NUMBERS = {
  published: (stats) => stats.publishes_per_second,
  delivered: (stats) => stats.deliveries_per_second,
  connections: (stats) => stats.connections,
  commit: (stats) => stats.commit_ms,
};

/** By tile, what else belongs to it. */
const ALSO = {
  published: ({ topics }) => say("{number} topics", { number: count(topics) }),
  delivered: ({ consumptions_per_second: confirmed }) => say("{rate} confirmed a second", { rate: rate(confirmed) }),
  connections: ({ subscriptions }) => say("{number} subscriptions", { number: count(subscriptions) }),
  commit: ({ commit_ms_max: most }) =>
    most === null ? say("nothing was published") : say("at most {number} ms", { number: milliseconds(most) }),
};

/** The tiles with live rates. What was seen outlives a new opening of the page in this tab. */
export class Overview {
  #tiles;
  #stats = null; // the last

  constructor() {
    const before = kept("overview") ?? {};
    this.#tiles = TILES.map((tile) => new Tile(tile, before[tile.name]));
    byId("tiles").append(...this.#tiles.map((tile) => tile.element));
    keep("overview", () => Object.fromEntries(this.#tiles.map((tile) => [tile.name, tile.points])));
    document.addEventListener("visibilitychange", () => this.#draw());
  }

  /** Hears of the server's `stats`. */
  show(stats) {
    this.#stats = stats;
    for (const tile of this.#tiles) tile.add(stats.timestamp, NUMBERS[tile.name](stats));
    byId("overview").dataset.state = "live";
    this.#draw();
  }

  /** Says that the numbers are old. */
  lose() {
    byId("overview").dataset.state = "stale";
  }

  #draw() {
    const stats = this.#stats;
    if (document.hidden || !stats) return;
    for (const tile of this.#tiles) tile.draw(NUMBERS[tile.name](stats), stats.timestamp, ALSO[tile.name](stats));
  }
}
