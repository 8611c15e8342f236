import { corners, NODE_RADIUS, shortened, sizeAt } from "./names.js";

const STEP = 1.3;
const MARGIN = 8;
const MOST_FITTED = 1.4; // few nodes need not fill the page
const LARGE_HEIGHT = 850; // ... unless it is very large
const LETTERS = 26; // of a name there is room for so many,
const ROOM = { across: 0.18, down: 0.15 }; // and for so much of the picture beside the nodes
const HALVINGS = 14;
const LIMITS = [0.05, 4];

/** Where the reader looks: a scale and a shift of the scene, changed by buttons, wheel and drag. */
export class View {
  scale = 1;
  x = 0;
  y = 0;
  #svg;
  #spots;
  #ruler;
  #onMove;
  #isFitted = true; // until the reader looks elsewhere

  /**
   * @param {SVGSVGElement} svg
   * @param {{spots: (node) => Spot[], ruler: Ruler, onMove: () => void}} parts `spots`: where names may
   *   go; `onMove` hears that the reader looks elsewhere
   */
  constructor(svg, { spots, ruler, onMove }) {
    this.#svg = svg;
    this.#spots = spots;
    this.#ruler = ruler;
    this.#onMove = onMove;
    svg.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    svg.addEventListener("pointerdown", (event) => this.#drag(event));
  }

  get width() {
    return this.#svg.clientWidth;
  }

  get height() {
    return this.#svg.clientHeight;
  }

  /** How high names are on the screen, in pixels. */
  get nameSize() {
    return sizeAt(this.scale, this.#most);
  }

  get #most() {
    return Math.max(MOST_FITTED, this.height / LARGE_HEIGHT);
  }

  /** Shows all of the nodes, unless the reader chose a part; `always`: even then. */
  fit(nodes, always = false) {
    if (!always && !this.#isFitted) return;
    this.#isFitted = true;
    const all = [...nodes];
    if (!all.length) return;
    let [low, high] = [LIMITS[0], this.#most];
    for (let step = 0; step < HALVINGS; step += 1) {
      const middle = (low + high) / 2;
      const { left, right, top, bottom } = this.#bounds(all, middle);
      const hasRoom = right - left <= this.width && bottom - top <= this.height;
      if (hasRoom) low = middle;
      else high = middle;
    }
    this.scale = low;
    const { left, right, top, bottom } = this.#bounds(all, low);
    this.x = (this.width - left - right) / 2;
    this.y = (this.height - top - bottom) / 2;
    this.#apply();
  }

  /** What the nodes and the room for their names take at a scale, in pixels. */
  #bounds(nodes, scale) {
    const size = sizeAt(scale, this.#most);
    const margin = MARGIN + NODE_RADIUS * scale;
    const bounds = { left: Infinity, right: -Infinity, top: Infinity, bottom: -Infinity };
    for (const node of nodes) {
      const [spot] = this.#spots(node);
      const radians = ((spot.angle ?? 0) * Math.PI) / 180;
      const room =
        Math.abs(Math.cos(radians)) * ROOM.across * this.width + Math.abs(Math.sin(radians)) * ROOM.down * this.height;
      const wanted = this.#ruler.width(shortened(node.name, LETTERS)) * size;
      const place = { x: node.x * scale, y: node.y * scale };
      for (const { x, y } of [place, ...corners(place, spot, Math.min(wanted, room), size, scale)]) {
        bounds.left = Math.min(bounds.left, x - margin);
        bounds.right = Math.max(bounds.right, x + margin);
        bounds.top = Math.min(bounds.top, y - margin);
        bounds.bottom = Math.max(bounds.bottom, y + margin);
      }
    }
    return bounds;
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
    this.#onMove();
  }
}

function clamp(scale) {
  return Math.min(LIMITS[1], Math.max(LIMITS[0], scale));
}
