import { arrange, fill, instantiate, setText } from "../page/dom.js";
import { language, say } from "../page/language.js";
import { runs, scaleTop } from "../page/series.js";
import { duration } from "../page/text.js";
import { SECONDS } from "./trends.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 120;
const LONGEST_SILENCE = 95; // what is older than a quarter of an hour has a point a minute
const LEAST_SECONDS = 300; // however little is known
const MOST_NAMED = 8;
const STEP = 10;

/**
 * A metric of all nodes as lines over the last hour, as far as it goes back. All charts share one
 * cursor: `onPoint` hears where the reader points, and `point` shows what was there.
 */
export class Chart {
  #metric;
  #svg;
  #names;
  #lines = new Map(); // node → path
  #cursor = part("line", "chart-cursor");
  #nodes = [];
  #points = new Map();
  #now = 0;
  #seconds = LEAST_SECONDS;
  #top = 1;
  #at = null;

  /** @param {{name: string, title: string, unit: string, text: (value: number) => string, top?: number}} metric */
  constructor(metric, onPoint) {
    this.#metric = metric;
    this.element = instantiate("chart-template", { title: say(metric.title), unit: metric.unit && say(metric.unit) });
    this.element.dataset.metric = metric.name;
    this.#names = this.element.querySelector("ul");
    this.#svg = this.element.querySelector("svg");
    this.#svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.#svg.append(this.#cursor);
    this.#cursor.setAttribute("y2", HEIGHT);
    this.#svg.addEventListener("pointermove", ({ clientX }) => {
      const { left, width } = this.#svg.getBoundingClientRect();
      onPoint(this.#now - (1 - (clientX - left) / width) * this.#seconds);
    });
    this.#svg.addEventListener("pointerleave", () => onPoint(null));
    this.#svg.addEventListener("blur", () => onPoint(null));
    this.#svg.addEventListener("keydown", (event) => this.#key(event, onPoint));
    this.point(null); // it has its name before there is anything to draw
  }

  /** Shows the points of each node; `nodes`, in order, are those with a colour and a name. */
  draw(points, nodes, now) {
    this.#points = points;
    this.#nodes = nodes;
    this.#now = now;
    const first = Math.min(now, ...[...points.values()].map((each) => each[0].at));
    this.#seconds = Math.min(SECONDS, Math.max(LEAST_SECONDS, now - first));
    const highest = Math.max(0, ...[...points.values()].flatMap((each) => each.map(({ value }) => value)));
    this.#top = this.#metric.top ?? scaleTop(highest);
    fill(this.element, { top: this.#metric.text(this.#top), start: `−${duration(Math.round(this.#seconds))}` });
    this.#drawLines();
    this.point(this.#at);
  }

  /** Shows the values at a time; null: the newest. */
  point(at) {
    this.#at = at;
    const x = at === null ? -1 : this.#x(at);
    this.#cursor.toggleAttribute("hidden", x < 0 || x > WIDTH);
    this.#cursor.setAttribute("x1", x);
    this.#cursor.setAttribute("x2", x);
    const shown = this.#nodes.slice(0, MOST_NAMED);
    const values = shown.map((node) => ({ node, text: this.#text(node.id, at) }));
    arrange(this.#names, values.map(({ node, text }, index) => this.#name(node, text, index)));
    const time = at === null ? "" : new Date(at * 1000).toLocaleTimeString(language, { hour12: false });
    fill(this.element, { point: time });
    const told = values.map(({ node, text }) => `${node.name} ${text}`).join(", ");
    this.#svg.setAttribute("aria-label", [say(this.#metric.title), this.#metric.unit && say(this.#metric.unit), time, told].filter(Boolean).join(", "));
  }

  #drawLines() {
    const series = new Map(this.#nodes.map((node) => [node.id, node.series]));
    for (const [id, line] of this.#lines) {
      if (this.#points.has(id)) continue;
      line.remove();
      this.#lines.delete(id);
    }
    for (const [id, points] of this.#points) {
      const line = this.#lines.get(id) ?? part("path", "chart-line");
      if (!line.isConnected) this.#svg.insertBefore(line, this.#cursor);
      this.#lines.set(id, line);
      line.dataset.series = series.get(id) ?? "gone";
      line.setAttribute("d", runs(points, LONGEST_SILENCE).map((run) => this.#path(run)).join(""));
    }
  }

  #path(run) {
    const start = `M${this.#x(run[0].at).toFixed(1)} ${this.#y(run[0].value)}h.5`; // one value alone is a dot
    return start + run.slice(1).map(({ at, value }) => `L${this.#x(at).toFixed(1)} ${this.#y(value)}`).join("");
  }

  #x(at) {
    return Math.min(WIDTH, WIDTH * (1 - (this.#now - at) / this.#seconds));
  }

  #y(value) {
    return (HEIGHT - 2 - (HEIGHT - 6) * Math.min(1, value / this.#top)).toFixed(1);
  }

  #text(id, at) {
    const point = nearest(this.#points.get(id) ?? [], at ?? this.#now);
    return point ? this.#metric.text(point.value) : "–";
  }

  #name(node, text, index) {
    const element = this.#names.children[index] ?? instantiate("chart-name-template");
    element.dataset.series = node.series;
    element.title = node.id;
    fill(element, { name: node.name });
    setText(element.querySelector("[data-field=value]"), text);
    return element;
  }

  /** The arrows go through time, Escape comes back to now. */
  #key(event, onPoint) {
    const steps = { ArrowLeft: -STEP, ArrowRight: STEP, PageUp: -10 * STEP, PageDown: 10 * STEP }[event.key];
    if (event.key === "Escape") onPoint(null);
    if (steps === undefined) return;
    event.preventDefault();
    const from = this.#at ?? this.#now;
    onPoint(Math.min(this.#now, Math.max(this.#now - this.#seconds, from + steps)));
  }
}

/** The point at about that time; null where nothing is known. */
function nearest(points, at) {
  let best = null;
  for (const point of points) if (!best || Math.abs(point.at - at) < Math.abs(best.at - at)) best = point;
  return best && Math.abs(best.at - at) <= LONGEST_SILENCE / 2 ? best : null;
}

function part(name, className) {
  const element = document.createElementNS(SVG, name);
  element.setAttribute("class", className);
  return element;
}
