/** Values over time, of which the last minutes are kept. */
export class Series {
  points; // {at, value}, oldest first; a value may be null
  #seconds;

  constructor(seconds, points = []) {
    this.#seconds = seconds;
    this.points = points;
  }

  add(at, value) {
    this.points.push({ at, value });
    const oldest = at - this.#seconds;
    const first = this.points.findIndex((point) => point.at >= oldest);
    if (first > 0) this.points.splice(0, first);
  }

  get last() {
    return this.points.at(-1);
  }
}

/** The parts of a series without a hole: neither a null nor a silence longer than so many seconds. */
export function runs(points, longestSilence) {
  const found = [];
  let before = null;
  for (const point of points) {
    if (point.value === null) {
      before = null;
      continue;
    }
    if (before === null || point.at - before.at > longestSilence) found.push([]);
    found.at(-1).push(point);
    before = point;
  }
  return found;
}

/** The smallest of 1, 2, 5, 10, 20, … that is not below a value: the top of a scale. */
export function scaleTop(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((top) => top >= value * (1 - 1e-9));
}
