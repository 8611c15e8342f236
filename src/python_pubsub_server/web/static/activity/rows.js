import { byId, instantiate, setText } from "../page/dom.js";
import { language, say } from "../page/language.js";
import { count } from "../page/text.js";

const LEVELS = 5; // shades beside that of nothing, as in the legend

/** The rows of the map: a name, a strip of one cell for each slot, a total. Rows are kept by name. */
export class Rows {
  #list = byId("activity");
  #rows = new Map(); // name → {element, strip, counts}
  #report = null;
  #cursor = null; // {name, slot}: what the reader points at
  #onPoint;

  /** @param {(text: string) => void} onPoint hears what a cell says */
  constructor(onPoint) {
    this.#onPoint = onPoint;
    this.#list.addEventListener("pointermove", (event) => this.#pointer(event));
    this.#list.addEventListener("pointerleave", () => this.#point(null));
    this.#list.addEventListener("keydown", (event) => this.#key(event));
    this.#list.addEventListener("focusin", ({ target }) => this.#focus(target));
    new ResizeObserver(() => this.draw()).observe(this.#list);
  }

  /** @param {{from, step, topics: {topic, counts}[]}} report */
  show(report, accepts) {
    this.#report = report;
    const shown = report.topics
      .filter(({ topic }) => accepts(topic))
      .sort((one, two) => (one.topic < two.topic ? -1 : 1)); // rows stay in their order
    if (report.others.some(Boolean)) {
      shown.push({ topic: say("all others"), counts: report.others, isSum: true });
    }
    const seen = new Set(shown.map(keyOf));
    for (const [key, { element }] of this.#rows) {
      if (seen.has(key)) continue;
      element.remove();
      this.#rows.delete(key);
    }
    shown.forEach((row, index) => this.#place(row, index));
    this.#list.style.setProperty("--rows", String(shown.length)); // few rows may be high
    this.draw();
    if (this.#cursor) this.#point(this.#cursor);
    return shown.length;
  }

  /** Paints every strip in the colours that the page has now. */
  draw() {
    if (!this.#report) return;
    const most = Math.max(1, ...[...this.#rows.values()].flatMap((row) => row.counts));
    const samples = [...document.querySelectorAll(".map-legend i")];
    const colours = samples.map((sample) => getComputedStyle(sample).backgroundColor);
    for (const { strip, counts } of this.#rows.values()) paint(strip, counts, most, colours);
  }

  #place(row, index) {
    const key = keyOf(row);
    let known = this.#rows.get(key);
    if (!known) {
      const element = instantiate("activity-row-template", { topic: row.topic });
      element.dataset.key = key;
      element.querySelector('[data-field="topic"]').title = row.topic;
      known = { element, strip: element.querySelector("canvas") };
      this.#rows.set(key, known);
    }
    known.counts = row.counts;
    known.name = row.topic;
    const total = row.counts.reduce((sum, number) => sum + number, 0);
    setText(known.element.querySelector('[data-field="total"]'), count(total));
    const label = say("{topic}: {total} messages. Arrow keys read the slots.", {
      topic: row.topic,
      total: count(total),
    });
    known.strip.setAttribute("aria-label", label);
    const present = this.#list.children[index] ?? null;
    if (present !== known.element) this.#list.insertBefore(known.element, present);
  }

  #pointer({ target, clientX }) {
    const strip = target.closest("canvas");
    if (!strip) return;
    const { left, width } = strip.getBoundingClientRect();
    const key = strip.closest("li").dataset.key;
    const slots = this.#rows.get(key).counts.length;
    this.#point({ key, slot: Math.min(slots - 1, Math.floor(((clientX - left) / width) * slots)) });
  }

  #focus(target) {
    const key = target.closest("li")?.dataset.key;
    if (key !== undefined) this.#point({ key, slot: this.#rows.get(key).counts.length - 1 });
  }

  #key(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move || !this.#cursor) return;
    event.preventDefault();
    const { key, slot } = this.#cursor;
    const last = this.#rows.get(key).counts.length - 1;
    this.#point({ key, slot: Math.min(last, Math.max(0, slot + move)) });
  }

  #point(cursor) {
    const row = cursor && this.#rows.get(cursor.key);
    this.#cursor = row ? cursor : null;
    if (!row) {
      this.#onPoint("");
      return;
    }
    const { from, step } = this.#report;
    const at = new Date((from + cursor.slot * step) * 1000);
    this.#onPoint(
      say("{topic}, {time}: {number} messages", {
        topic: row.name,
        time: at.toLocaleTimeString(language, { hour12: false }),
        number: count(row.counts[cursor.slot]),
      }),
    );
  }
}

/** A topic may be called as the row of the others is. */
function keyOf({ topic, isSum }) {
  return isSum ? "" : topic;
}

/** The shade of a number: by its order of magnitude, so that quiet topics are seen beside loud ones. */
export function level(number, most) {
  if (number === 0) return 0;
  return Math.min(LEVELS, 1 + Math.floor((LEVELS * Math.log(number)) / Math.log(Math.max(most, 2) + 0.5)));
}

function paint(strip, counts, most, colours) {
  const [width, height] = [strip.clientWidth, strip.clientHeight].map((size) =>
    Math.round(size * devicePixelRatio),
  );
  if (strip.width !== width) strip.width = width;
  if (strip.height !== height) strip.height = height;
  const context = strip.getContext("2d");
  context.clearRect(0, 0, width, height);
  const gap = width / counts.length > 5 ? Math.round(devicePixelRatio) : 0;
  counts.forEach((number, slot) => {
    const left = Math.round((slot * width) / counts.length);
    const right = Math.round(((slot + 1) * width) / counts.length);
    context.fillStyle = colours[level(number, most)];
    context.fillRect(left, 0, right - left - gap, height);
  });
}
