import { runs, scaleTop } from "./series.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 48;
const LONGEST_SILENCE = 5;
const LEAST_SECONDS = 60; // however little is known

/**
 * Draws a series as a line over the last seconds, as far as it goes back: the right edge is now.
 * Where nothing is known, nothing is drawn. Under the pointer it says what was when.
 */
export class Sparkline {
  #svg;
  #line = part("path", "spark-line");
  #area = part("path", "spark-area");
  #cursor = part("line", "spark-cursor");
  #most;
  #seconds = LEAST_SECONDS;
  #onPoint;
  #points = [];
  #now = 0;
  #top = 1;
  #pointed = null; // a share of the width

  /** @param {(point: {at, value} | null) => void} onPoint hears what the reader points at */
  constructor(svg, seconds, onPoint) {
    this.#svg = svg;
    this.#most = seconds;
    this.#onPoint = onPoint;
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.append(this.#area, this.#line, this.#cursor);
    this.#cursor.setAttribute("y2", HEIGHT);
    svg.addEventListener("pointermove", ({ clientX }) => {
      const { left, width } = svg.getBoundingClientRect();
      this.#point((clientX - left) / width);
    });
    svg.addEventListener("pointerleave", () => this.#point(null));
    this.#point(null);
  }

  /** @returns {number} the highest value shown */
  draw(points, now) {
    this.#points = points;
    this.#now = now;
    this.#seconds = Math.min(this.#most, Math.max(LEAST_SECONDS, now - (points[0]?.at ?? now)));
    const highest = points.reduce((most, { value }) => Math.max(most, value ?? 0), 0);
    this.#top = scaleTop(highest);
    const parts = runs(points, LONGEST_SILENCE);
    this.#line.setAttribute("d", parts.map((run) => this.#path(run)).join(""));
    this.#area.setAttribute("d", parts.map((run) => this.#path(run) + this.#foot(run)).join(""));
    this.#point(this.#pointed);
    return highest;
  }

  #path(run) {
    const first = run[0];
    const start = `M${this.#x(first.at)} ${this.#y(first.value)}h.5`; // one value alone is a dot
    return start + run.slice(1).map(({ at, value }) => `L${this.#x(at)} ${this.#y(value)}`).join("");
  }

  #foot(run) {
    return `L${this.#x(run.at(-1).at)} ${HEIGHT}L${this.#x(run[0].at)} ${HEIGHT}Z`;
  }

  #x(at) {
    return (WIDTH * (1 - (this.#now - at) / this.#seconds)).toFixed(1);
  }

  #y(value) {
    return (HEIGHT - 2 - (HEIGHT - 4) * (value / this.#top)).toFixed(1);
  }

  #point(share) {
    this.#pointed = share;
    const wanted = share === null ? null : this.#now - (1 - share) * this.#seconds;
    const near = wanted === null ? null : nearest(this.#points, wanted);
    this.#cursor.toggleAttribute("hidden", !near);
    if (near) {
      this.#cursor.setAttribute("x1", this.#x(near.at));
      this.#cursor.setAttribute("x2", this.#x(near.at));
    }
    this.#onPoint(near);
  }
}

function nearest(points, at) {
  const known = points.filter(({ value }) => value !== null);
  return known.reduce(
    (best, point) => (best && Math.abs(best.at - at) <= Math.abs(point.at - at) ? best : point),
    null,
  );
}

function part(name, className) {
  const element = document.createElementNS(SVG, name);
  element.setAttribute("class", className);
  return element;
}
