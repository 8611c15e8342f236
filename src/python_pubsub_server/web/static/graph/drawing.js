import { say } from "../page/language.js";
import { textPlace } from "./names.js";

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {
  producer: "M-7,-7H7V7H-7Z",
  topic: "M-9,0A9,9 0 1 1 9,0A9,9 0 1 1 -9,0Z",
  consumer: "M0,-9L9,0L0,9L-9,0Z",
};
const HALO = 0.25; // around names, of their height
export const KINDS = { producer: "Producer", topic: "Topic", consumer: "Consumer" };

/** Draws a model as SVG; elements stay as long as what they show, and only changes are written. */
export class Drawing {
  #edges;
  #nodes;
  #layout;
  #elements = new Map(); // id → element

  /** @param {SVGSVGElement} svg @param {{curve}} layout */
  constructor(svg, layout) {
    this.#layout = layout;
    this.#edges = svg.querySelector(".edges");
    this.#nodes = svg.querySelector(".nodes");
  }

  draw(model) {
    const seen = new Set();
    for (const edge of model.edges.values()) {
      seen.add(edge.id);
      this.#drawEdge(edge);
    }
    for (const node of model.nodes.values()) {
      seen.add(node.id);
      this.#drawNode(node);
    }
    for (const [id, element] of this.#elements) {
      if (seen.has(id)) continue;
      element.remove();
      this.#elements.delete(id);
    }
  }

  /** Draws the names that were chosen, and no others. */
  name(model, chosen, view) {
    const size = view.nameSize / view.scale;
    write(this.#nodes, "font-size", size.toFixed(2));
    write(this.#nodes, "stroke-width", (HALO * size).toFixed(2)); // of names
    for (const node of model.nodes.values()) {
      const group = this.#elements.get(node.id);
      const found = chosen.get(node.id);
      write(group, "data-named", Boolean(found));
      if (!found) continue;
      const text = group.querySelector("text");
      const { x, y } = textPlace(found.spot, view);
      if (text.textContent !== found.text) text.textContent = found.text;
      write(text, "x", x.toFixed(1));
      write(text, "y", y.toFixed(1));
      write(text, "text-anchor", found.spot.anchor);
      write(text, "transform", `rotate(${(found.spot.angle ?? 0).toFixed(1)})`);
    }
  }

  element(id) {
    return this.#elements.get(id);
  }

  #drawEdge(edge) {
    let path = this.#elements.get(edge.id);
    if (!path) {
      path = document.createElementNS(SVG, "path");
      path.classList.add("edge");
      path.dataset.id = edge.id;
      this.#edges.append(path);
      this.#elements.set(edge.id, path);
    }
    edge.curve = this.#layout.curve(edge);
    const [x0, y0, ...rest] = edge.curve.map((number) => number.toFixed(1));
    write(path, "d", `M${x0},${y0}C${rest.join(" ")}`);
    write(path, "data-state", edge.state);
    write(path, "data-delay", edge.delay);
    write(path, "stroke-width", (1.2 + 2.4 * Math.log10(1 + edge.flow)).toFixed(1));
  }

  #drawNode(node) {
    let group = this.#elements.get(node.id);
    if (!group) {
      group = newNode(node);
      this.#nodes.append(group);
      this.#elements.set(node.id, group);
    }
    write(group, "transform", `translate(${node.x.toFixed(1)} ${node.y.toFixed(1)})`);
    const isIdle = node.edges.every((edge) => edge.state === "silent" || edge.state === "away");
    write(group, "data-idle", isIdle);
    write(group, "data-delay", worst(node.edges));
  }
}

function newNode({ id, kind, name }) {
  const group = document.createElementNS(SVG, "g");
  const shape = document.createElementNS(SVG, "path");
  const text = document.createElementNS(SVG, "text");
  const title = document.createElementNS(SVG, "title");
  group.classList.add("node");
  group.dataset.kind = kind;
  group.dataset.id = id;
  group.setAttribute("role", "button");
  group.setAttribute("tabindex", "-1");
  group.setAttribute("aria-label", `${say(KINDS[kind])} ${name}`);
  shape.setAttribute("d", SHAPES[kind]);
  title.textContent = name;
  group.dataset.named = false;
  group.append(title, shape, text);
  return group;
}

/** A consumer looks as the worst of its edges does. */
function worst(edges) {
  const has = (delay) => edges.some((edge) => edge.kind === "consume" && edge.delay === delay);
  return has("late") ? "late" : has("slow") ? "slow" : "none";
}

function write(element, name, value) {
  const text = String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}
