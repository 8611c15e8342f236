import { byId, fill } from "../page/dom.js";
import { say } from "../page/language.js";
import { count, rate } from "../page/text.js";
import { plainTile, Tile } from "../page/tile.js";

const TILES = [
  { name: "published", title: "Published", unit: "a second", text: rate },
  { name: "delivered", title: "Delivered", unit: "a second", text: rate },
  { name: "connections", title: "Connections", text: count },
];

/** The tiles: all nodes together, with the last minutes of each number. */
export class Summary {
  #nodes = plainTile({ name: "nodes", title: "Nodes" });
  #tiles = TILES.map((tile) => new Tile(tile));

  constructor() {
    byId("tiles").append(this.#nodes, ...this.#tiles.map(({ element }) => element));
  }

  /** @param {boolean} isNew whether the numbers are of now, and go into the lines */
  show(sums, now, isNew) {
    fill(this.#nodes, { value: `${count(sums.up)} / ${count(sums.total)}`, also: health(sums) });
    this.#nodes.dataset.state = sums.up !== sums.total ? "bad" : sums.alerts ? "alerted" : "good";
    const subscriptions = say("{number} subscriptions", { number: count(sums.subscriptions) });
    for (const tile of this.#tiles) {
      if (isNew) tile.add(now, sums[tile.name]);
      tile.draw(sums[tile.name], now, tile.name === "connections" ? subscriptions : "");
    }
  }
}

function health({ lost, unseen, alerts }) {
  if (alerts === 1) return say("one alert");
  if (alerts) return say("{number} alerts", { number: count(alerts) });
  if (lost) return say("{number} lost", { number: count(lost) });
  return unseen ? say("{number} not seen", { number: count(unseen) }) : say("all is well");
}
