/** Tiles: a number as it is now, and a line of what it was in the last five minutes. */
import { fill, instantiate } from "./dom.js";
import { language, say } from "./language.js";
import { Series } from "./series.js";
import { Sparkline } from "./sparkline.js";

const SECONDS = 300;

/** A tile without a line; whoever asks fills it. */
export function plainTile({ name, title }) {
  const element = tileElement(name, title);
  element.querySelector("svg").remove();
  return element;
}

/** A tile whose numbers are added as they come, and drawn when it is time to. */
export class Tile {
  element;
  #tile;
  #series;
  #line;
  #svg;

  /**
   * @param {{name, title, unit?, text: (number: number) => string}} tile titles and units in English
   * @param {{at: number, value: number | null}[]} [points] what is known already
   */
  constructor(tile, points) {
    this.#tile = tile;
    this.#series = new Series(SECONDS, points);
    this.element = tileElement(tile.name, tile.title);
    this.#svg = this.element.querySelector("svg");
    this.#svg.setAttribute("aria-label", say(tile.title)); // until there are numbers
    this.#line = new Sparkline(this.#svg, SECONDS, (point) => this.#point(point));
  }

  get name() {
    return this.#tile.name;
  }

  get points() {
    return this.#series.points;
  }

  /** Adds a number of a time in seconds to the line; null: there was none. */
  add(at, number) {
    this.#series.add(at, number);
  }

  /** Shows a number, the line until `now`, and what else belongs to it. */
  draw(number, now, also = "") {
    const { title, unit = "", text } = this.#tile;
    const value = number === null ? "–" : text(number);
    fill(this.element, { value, unit: unit && say(unit), also });
    const highest = text(this.#line.draw(this.#series.points, now));
    const told = { title: say(title), value, highest };
    const label = say("{title}: {value} now, {highest} at most in the last five minutes", told);
    this.#svg.setAttribute("aria-label", label);
  }

  #point(point) {
    const time = point && new Date(point.at * 1000).toLocaleTimeString(language, { hour12: false });
    fill(this.element, { point: point ? `${time}  ${this.#tile.text(point.value)}` : "" });
  }
}

function tileElement(name, title) {
  const element = instantiate("tile-template", { title: say(title), value: "–" });
  element.dataset.tile = name;
  return element;
}
