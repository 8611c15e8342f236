import { byId, fill, instantiate } from "../page/dom.js";
import { say } from "../page/language.js";
import { Series } from "../page/series.js";
import { Sparkline } from "../page/sparkline.js";
import { count, rate } from "../page/text.js";

const SECONDS = 300;
const TILES = [
  { name: "nodes", title: "Nodes", text: (sums) => `${count(sums.up)} / ${count(sums.total)}`, also: health },
  { name: "published", title: "Published", unit: "a second", value: (sums) => sums.published, text: (sums) => rate(sums.published) },
  { name: "delivered", title: "Delivered", unit: "a second", value: (sums) => sums.delivered, text: (sums) => rate(sums.delivered) },
  {
    name: "connections",
    title: "Connections",
    value: (sums) => sums.connections,
    text: (sums) => count(sums.connections),
    also: (sums) => say("{number} subscriptions", { number: count(sums.subscriptions) }),
  },
];

/** The tiles: all nodes together, with the last minutes of each number. */
export class Summary {
  #tiles = TILES.map((tile) => {
    const element = instantiate("tile-template", { title: say(tile.title), value: "–", unit: tile.unit ? say(tile.unit) : "" });
    element.dataset.tile = tile.name;
    const svg = element.querySelector("svg");
    if (!tile.value) svg.remove();
    else svg.setAttribute("aria-label", say(tile.title));
    return { ...tile, element, series: new Series(SECONDS), line: tile.value && new Sparkline(svg, SECONDS, () => {}) };
  });

  constructor() {
    byId("tiles").append(...this.#tiles.map(({ element }) => element));
  }

  /** @param {boolean} isNew whether the numbers are of now, and go into the lines */
  show(sums, now, isNew) {
    for (const { element, text, also, value, series, line } of this.#tiles) {
      fill(element, { value: text(sums), also: also ? also(sums) : "" });
      if (!line) continue;
      if (isNew) series.add(now, value(sums));
      line.draw(series.points, now);
    }
    const isWhole = sums.up === sums.total;
    this.#tiles[0].element.dataset.state = !isWhole ? "bad" : sums.alerts ? "alerted" : "good";
  }
}

function health({ lost, unseen, alerts }) {
  if (alerts === 1) return say("one alert");
  if (alerts) return say("{number} alerts", { number: count(alerts) });
  if (lost) return say("{number} lost", { number: count(lost) });
  return unseen ? say("{number} not seen", { number: count(unseen) }) : say("all is well");
}
