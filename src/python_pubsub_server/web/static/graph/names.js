/**
 * Which names are drawn, and where: none lies on another or on a node. Lengths are pixels of the
 * screen, where names keep their size however far away the reader is.
 *
 * @typedef {{anchor: "start" | "end" | "middle", side?: -1 | 1, angle?: number}} Spot where a name may
 *   stand beside its node: it begins there, ends there, or is above (-1) or below (1) it; `angle`:
 *   how the line is turned around the node, in degrees
 */
import { Ground, turned } from "./ground.js";

const SIZE = 13;
const LEAST_SIZE = 11;
const LINE = 1.2; // of the size
const BASE = 0.34; // from the middle of a line down to its base
export const NODE_RADIUS = 9; // in the scene
const LEAST_RADIUS = 3;
const GAP = 4;
const LENGTHS = [30, 20, 13, 8]; // letters; a name is shortened before it is left out

/** How high names are. */
export function sizeAt(scale, most) {
  return SIZE * Math.min(most, Math.max(LEAST_SIZE / SIZE, scale));
}

/** The corners of a name of a width beside a node. */
export function corners({ x, y }, { anchor, side = 0, angle = 0 }, width, size, scale) {
  const gap = NODE_RADIUS * scale + GAP;
  const left = { start: gap, end: -gap - width, middle: -width / 2 }[anchor];
  const middle = side * (gap + (size * LINE) / 2 - 2);
  const [top, bottom] = [middle - (size * LINE) / 2, middle + (size * LINE) / 2];
  const box = [
    [left, top],
    [left + width, top],
    [left + width, bottom],
    [left, bottom],
  ];
  return box.map(([across, down]) => turned(x, y, across, down, angle));
}

/** Where that name's text stands in the scene, seen from its node. */
export function textPlace({ anchor, side = 0 }, { nameSize: size, scale }) {
  const gap = NODE_RADIUS * scale + GAP;
  const x = { start: gap, end: -gap, middle: 0 }[anchor];
  const middle = side * (gap + (size * LINE) / 2 - 2);
  return { x: x / scale, y: (middle + BASE * size) / scale };
}

/** A name with at most so many letters: its start and its end, which tell it from others. */
export function shortened(name, most) {
  const letters = [...name];
  if (letters.length <= most) return name;
  const tail = Math.floor((most - 1) * 0.4);
  return `${letters.slice(0, most - 1 - tail).join("")}…${letters.slice(-tail).join("")}`;
}

/** How wide a text is, in its own height. */
export class Ruler {
  #widths = new Map();
  #context = document.createElement("canvas").getContext("2d");

  /** @param {string} family of fonts */
  constructor(family) {
    this.#context.font = `100px ${family}`;
  }

  width(text) {
    let width = this.#widths.get(text);
    if (width === undefined) {
      if (this.#widths.size > 20_000) this.#widths.clear();
      width = this.#context.measureText(text).width / 100;
      this.#widths.set(text, width);
    }
    return width;
  }
}

/**
 * Chooses names, the most important first. Those that were drawn before come before their equals,
 * so that they stay while rates change.
 *
 * @param {GraphNode[]} nodes
 * @param {{view: {scale, x, y, width, height, nameSize}, spots: (node) => Spot[], width: (text) => number,
 *   first: (node) => number, before: Map}} how `first`: 2 for a name that is drawn whatever it hides, 1
 *   for one that comes before all others, -1 for one that is left out
 * @returns {Map<string, {text, spot: Spot}>} by a node's id
 */
export function chosenNames(nodes, { view, spots, width, first, before }) {
  const { scale, nameSize: size } = view;
  const ground = new Ground(view.width, view.height);
  const radius = Math.max(LEAST_RADIUS, NODE_RADIUS * scale) - 1;
  const seen = [];
  for (const node of nodes) {
    const place = { x: node.x * scale + view.x, y: node.y * scale + view.y };
    const marker = square(place, radius);
    if (!ground.holds(marker, radius)) continue;
    seen.push({ node, place, rank: first(node), weight: weightOf(node) });
    ground.take(marker, node.id);
  }
  const wasDrawn = ({ node }) => Number(before.has(node.id));
  seen.sort(
    (one, two) =>
      two.rank - one.rank ||
      two.weight - one.weight ||
      wasDrawn(two) - wasDrawn(one) ||
      (one.node.name < two.node.name ? -1 : 1),
  );
  const chosen = new Map();
  for (const { node, place, rank } of seen) {
    if (rank < 0) break;
    const texts = [...new Set(LENGTHS.map((most) => shortened(node.name, most)))];
    const places = spots(node);
    const tries = texts.flatMap((text) => places.map((spot) => ({ text, spot })));
    const box = ({ text, spot }) => corners(place, spot, width(text) * size, size, scale);
    let found = tries.find((each) => ground.isFree(box(each), node.id));
    if (!found && rank > 1) found = tries.find((each) => ground.holds(box(each))) ?? tries.at(-1);
    if (!found) continue;
    ground.take(box(found), node.id);
    chosen.set(node.id, found);
  }
  return chosen;
}

/** In steps, so that small changes move nothing. */
function weightOf(node) {
  return Math.round(Math.log2(1 + node.edges.reduce((sum, edge) => sum + edge.flow, 0)) / 2);
}

function square({ x, y }, radius) {
  return [
    [-radius, -radius],
    [radius, -radius],
    [radius, radius],
    [-radius, radius],
  ].map(([across, down]) => turned(x, y, across, down, 0));
}
