import { LONGEST_NAME } from "./drawing.js";

const STEP = 1.3;
const MARGIN = 16;
const LETTER = 7.2; // how wide a letter of a name is, about
const NAME_GAP = 15;
const LEGIBLE = 0.55; // names would be too small to read below it
const MOST_FITTED = 1.4; // few nodes need not fill the page
const LARGE_HEIGHT = 850; // ... unless it is very large
const LIMITS = [0.05, 4];

/** Where the reader looks: a scale and a shift of the scene, changed by buttons, wheel and drag. */
export class View {
  scale = 1;
  x = 0;
  y = 0;
  #svg;
  #label;
  #isFitted = true; // until the reader looks elsewhere

  /** @param {(node) => {anchor, angle}} label where a node's name goes */
  constructor(svg, label) {
    this.#svg = svg;
    this.#label = label;
    svg.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    svg.addEventListener("pointerdown", (event) => this.#drag(event));
  }

  /** Shows all of the nodes, unless the reader chose a part; `always`: even then. */
  fit(nodes, always = false) {
    if (!always && !this.#isFitted) return;
    this.#isFitted = true;
    const all = [...nodes];
    if (!all.length) return;
    this.#show(all.flatMap((node) => [node, ...this.#nameEnds(node)]));
    if (this.scale < LEGIBLE) this.#show(all, 0.99 * LEGIBLE); // names are not drawn then
    this.#apply();
  }

  /** Finds the scale and the shift that bring points into view, and into its middle. */
  #show(points, most = Math.max(MOST_FITTED, this.#svg.clientHeight / LARGE_HEIGHT)) {
    const { clientWidth: width, clientHeight: height } = this.#svg;
    const bounds = (pick) => [Math.min(...points.map(pick)), Math.max(...points.map(pick))];
    const [left, right] = bounds((point) => point.x);
    const [top, bottom] = bounds((point) => point.y);
    const scales = [width / (right - left + 2 * MARGIN), height / (bottom - top + 2 * MARGIN)];
    this.scale = clamp(Math.min(most, ...scales));
    this.x = width / 2 - ((left + right) / 2) * this.scale;
    this.y = height / 2 - ((top + bottom) / 2) * this.scale;
  }

  /** Where a node's name begins and ends, about. */
  #nameEnds(node) {
    const { anchor, angle, y = 0 } = this.#label(node);
    const length = LETTER * Math.min(LONGEST_NAME, node.name.length) + NAME_GAP;
    const sides = { start: [length], end: [-length], middle: [-length / 2, length / 2] }[anchor];
    const radians = (angle * Math.PI) / 180;
    return sides.map((side) => ({
      x: node.x + side * Math.cos(radians),
      y: node.y + side * Math.sin(radians) + (angle === 0 ? y : 0),
    }));
  }

  zoomIn() {
    this.#zoom(STEP);
  }

  zoomOut() {
    this.#zoom(1 / STEP);
  }

  #zoom(factor, x = this.#svg.clientWidth / 2, y = this.#svg.clientHeight / 2) {
    const scale = clamp(this.scale * factor);
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.#isFitted = false;
    this.#apply();
  }

  #wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return; // else the page scrolls
    event.preventDefault();
    const { left, top } = this.#svg.getBoundingClientRect();
    this.#zoom(Math.exp(-event.deltaY / 300), event.clientX - left, event.clientY - top);
  }

  #drag(start) {
    if (start.target.closest(".node")) return;
    const from = { x: this.x - start.clientX, y: this.y - start.clientY };
    const move = (event) => {
      this.x = from.x + event.clientX;
      this.y = from.y + event.clientY;
      this.#isFitted = false;
      this.#apply();
    };
    this.#svg.setPointerCapture(start.pointerId);
    this.#svg.addEventListener("pointermove", move);
    const end = () => this.#svg.removeEventListener("pointermove", move);
    this.#svg.addEventListener("lostpointercapture", end, { once: true });
  }

  #apply() {
    const scene = this.#svg.querySelector(".scene");
    scene.setAttribute("transform", `translate(${this.x} ${this.y}) scale(${this.scale})`);
    this.#svg.dataset.far = this.scale < LEGIBLE;
  }
}

function clamp(scale) {
  return Math.min(LIMITS[1], Math.max(LIMITS[0], scale));
}
