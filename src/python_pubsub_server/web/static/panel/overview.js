import { byId, fill, instantiate } from "../page/dom.js";
import { keep, kept } from "../page/kept.js";
import { language, say } from "../page/language.js";
import { Series } from "../page/series.js";
import { Sparkline } from "../page/sparkline.js";
import { count, milliseconds, rate } from "../page/text.js";

const SECONDS = 300;

/** What a tile shows: a value of `stats` as a number and a line, and what else belongs to it. */
const TILES = [
  {
    name: "published",
    title: "Published",
    unit: "a second",
    value: (stats) => stats.publishes_per_second,
    text: rate,
    also: (stats) => say("{number} topics", { number: count(stats.topics) }),
  },
  {
    name: "delivered",
    title: "Delivered",
    unit: "a second",
    value: (stats) => stats.deliveries_per_second,
    text: rate,
    also: (stats) => say("{rate} confirmed a second", { rate: rate(stats.consumptions_per_second) }),
  },
  {
    name: "connections",
    title: "Connections",
    unit: "",
    value: (stats) => stats.connections,
    text: count,
    also: (stats) => say("{number} subscriptions", { number: count(stats.subscriptions) }),
  },
  {
    name: "commit",
    title: "Commit",
    unit: "ms",
    value: (stats) => stats.commit_ms,
    text: milliseconds,
    also: (stats) =>
      stats.commit_ms_max === null
        ? say("nothing was published")
        : say("at most {number} ms", { number: milliseconds(stats.commit_ms_max) }),
  },
];

/** The tiles with live rates. What was seen outlives a new opening of the page in this tab. */
export class Overview {
  #tiles;

  constructor() {
    const before = kept("overview") ?? {};
    this.#tiles = TILES.map((tile) => new Tile(tile, before[tile.name]));
    byId("tiles").append(...this.#tiles.map((tile) => tile.element));
    keep("overview", () => Object.fromEntries(this.#tiles.map((tile) => [tile.name, tile.points])));
  }

  /** Hears of the server's `stats`. */
  show(stats) {
    for (const tile of this.#tiles) tile.show(stats);
    byId("overview").dataset.state = "live";
  }

  /** Says that the numbers are old. */
  lose() {
    byId("overview").dataset.state = "stale";
  }
}

class Tile {
  #tile;
  #series;
  #line;

  constructor(tile, points) {
    this.#tile = tile;
    this.#series = new Series(SECONDS, points);
    this.element = instantiate("tile-template", { title: say(tile.title), value: "–" });
    this.element.dataset.tile = tile.name;
    const svg = this.element.querySelector("svg");
    svg.setAttribute("aria-label", say(tile.title)); // until there are numbers
    this.#line = new Sparkline(svg, SECONDS, (point) => this.#point(point));
  }

  get name() {
    return this.#tile.name;
  }

  get points() {
    return this.#series.points;
  }

  show(stats) {
    const { title, unit, value, text, also } = this.#tile;
    const number = value(stats);
    this.#series.add(stats.timestamp, number);
    const highest = this.#line.draw(this.#series.points, stats.timestamp);
    fill(this.element, {
      value: number === null ? "–" : text(number),
      unit: unit && say(unit),
      also: also(stats),
    });
    const told = { title: say(title), value: number === null ? "–" : text(number), highest: text(highest) };
    const label = say("{title}: {value} now, {highest} at most in the last five minutes", told);
    this.element.querySelector("svg").setAttribute("aria-label", label);
  }

  #point(point) {
    const time = point && new Date(point.at * 1000).toLocaleTimeString(language, { hour12: false });
    fill(this.element, { point: point ? `${time}  ${this.#tile.text(point.value)}` : "" });
  }
}
