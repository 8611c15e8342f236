import { setText } from "./dom.js";
import { say } from "./language.js";
import { count } from "./text.js";

const MOST_SHOWN = 200;
export const MOST_KEPT = 1_000; // so that a filter has something to find

/**
 * What arrives, newest first: of the last 1,000 records those that pass a filter, 200 at most, drawn
 * once a frame however much comes. While paused the list stands still and the newest 1,000 wait.
 *
 * A record may have any fields; while it is in the list, `element` is its row.
 */
export class Feed {
  records = []; // newest first
  shown = []; // newest first, the records of the list
  isPaused = false;
  letGo = 0; // while paused
  #list;
  #pause;
  #accepts;
  #render;
  #onDraw;
  #waiting = []; // oldest first
  #frame = 0;

  /**
   * @param {HTMLElement} list
   * @param {{pause: HTMLButtonElement, accepts: () => (record) => boolean, onDraw: () => void,
   *   render: (record) => HTMLElement}} parts `pause` lets it stand still and go on; `accepts` makes
   *   the filter as it is now; `onDraw` hears that numbers may have changed
   */
  constructor(list, { pause, accepts, render, onDraw }) {
    this.#list = list;
    this.#pause = pause;
    this.#accepts = accepts;
    this.#render = render;
    this.#onDraw = onDraw;
    pause.onclick = () => {
      this.isPaused = !this.isPaused;
      this.#draw();
    };
  }

  /** What would be seen without the filter and the limit, and what waits: newest first. */
  get all() {
    return [...this.#waiting.toReversed(), ...this.records].slice(0, MOST_KEPT);
  }

  /** Of what is kept, all that passes the filter. */
  get passing() {
    return this.records.filter(this.#accepts());
  }

  add(record) {
    this.#waiting.push(record);
    if (this.#waiting.length > 2 * MOST_KEPT) this.#letSomeGo();
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  clear() {
    this.records = [];
    this.#waiting = [];
    this.letGo = 0;
    this.showAnew();
  }

  /** Shows what passes the filter as it is now. */
  showAnew() {
    this.shown = this.passing.slice(0, MOST_SHOWN);
    this.#list.replaceChildren(...this.shown.map((record) => this.#element(record)));
    this.#tell();
  }

  #letSomeGo() {
    const number = this.#waiting.length - MOST_KEPT;
    this.#waiting.splice(0, number);
    this.letGo += number;
  }

  #draw() {
    this.#frame = 0;
    if (!this.isPaused) {
      const fresh = this.#waiting.slice(-MOST_KEPT).reverse();
      this.#waiting = [];
      this.letGo = 0;
      this.records = [...fresh, ...this.records].slice(0, MOST_KEPT);
      this.#show(fresh);
    }
    this.#tell();
  }

  #tell() {
    const missed = this.#waiting.length + this.letGo;
    const goOn = missed ? say("Go on ({number} new)", { number: count(missed) }) : say("Go on");
    this.#pause.setAttribute("aria-pressed", String(this.isPaused));
    setText(this.#pause, this.isPaused ? goOn : say("Pause"));
    this.#onDraw();
  }

  /** Puts the fresh ones that pass the filter in front. */
  #show(fresh) {
    const passing = fresh.filter(this.#accepts()).slice(0, MOST_SHOWN);
    this.#list.prepend(...passing.map((record) => this.#element(record)));
    const shown = [...passing, ...this.shown];
    for (const record of shown.slice(MOST_SHOWN)) {
      record.element.remove();
      record.element = undefined;
    }
    this.shown = shown.slice(0, MOST_SHOWN);
  }

  #element(record) {
    record.element ??= this.#render(record);
    return record.element;
  }
}
