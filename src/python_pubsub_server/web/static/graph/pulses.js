const DURATION_MS = 800;
const RADIUS = 4.5;
const LEAST_PIXELS = 2;
const MOST = 400;
const MOST_READERS = 40;

/** Messages on their way: dots on a canvas over the graph. Nothing is drawn while none moves. */
export class Pulses {
  only = null; // the ids of the edges on which messages are drawn; null: on all of them
  #canvas;
  #view;
  #model;
  #moving = [];
  #frame = 0;
  #calm = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(canvas, view, model) {
    this.#canvas = canvas;
    this.#model = model;
    this.#view = view;
  }

  /** Lets a message run from its producer to its topic, and from there to who listens. */
  run({ topic, producer }) {
    if (this.#calm.matches || document.hidden || this.#moving.length >= MOST) return;
    const now = performance.now();
    const edge = this.#model.edge("publish", producer, topic);
    if (edge) this.#moving.push({ id: edge.id, start: now });
    const readers = (this.#model.node("topic", topic)?.edges ?? [])
      .filter((each) => each.kind === "consume" && each.state !== "away")
      .slice(0, MOST_READERS);
    for (const each of readers) this.#moving.push({ id: each.id, start: now + DURATION_MS });
    this.#frame ||= requestAnimationFrame((time) => this.#draw(time));
  }

  #draw(now) {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const density = devicePixelRatio;
    const [wide, high] = [Math.round(width * density), Math.round(height * density)];
    if (this.#canvas.width !== wide) this.#canvas.width = wide;
    if (this.#canvas.height !== high) this.#canvas.height = high;
    const context = this.#canvas.getContext("2d");
    const { scale, x, y } = this.#view;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    context.setTransform(density * scale, 0, 0, density * scale, density * x, density * y);
    context.fillStyle = getComputedStyle(this.#canvas).color;
    this.#moving = this.#moving.filter(({ start }) => now < start + DURATION_MS);
    for (const { id, start } of this.#moving) {
      const edge = this.#model.edges.get(id);
      if (!edge || now < start || (this.only && !this.only.has(id))) continue;
      const [left, top] = along(edge.curve, (now - start) / DURATION_MS);
      context.beginPath();
      context.arc(left, top, Math.max(RADIUS, LEAST_PIXELS / scale), 0, 2 * Math.PI);
      context.fill();
    }
    this.#frame = this.#moving.length ? requestAnimationFrame((time) => this.#draw(time)) : 0;
  }
}

/** A point of a cubic Bézier curve. */
export function along([x0, y0, x1, y1, x2, y2, x3, y3], t) {
  const u = 1 - t;
  const [a, b, c, d] = [u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t];
  return [a * x0 + b * x1 + c * x2 + d * x3, a * y0 + b * y1 + c * y2 + d * y3];
}
