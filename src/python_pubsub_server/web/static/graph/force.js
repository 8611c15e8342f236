/**
 * A force layout that flows from left to right: producers, topics, consumers. Edges pull their ends
 * to one height, nodes push each other away. What is placed once stays where it is.
 */
const COLUMN = { producer: -1, topic: 0, consumer: 1 };
const COLUMN_GAPS = [112, 330];
const NAMES = 200; // what names take beside the outer columns
const APART = 44; // down; across it is more, for the names
const ACROSS = 0.3;
const STEPS = 160;
const MOST_STRETCH = 2;

/** Gives places to the nodes that have none, in columns that suit the size of the page. */
export function place(model, { width, height }) {
  const nodes = [...model.nodes.values()];
  const fresh = nodes.filter((node) => node.x === undefined);
  if (!fresh.length) return;
  const spread = Math.max(1, Math.sqrt(nodes.length / 30));
  const gap = Math.min(COLUMN_GAPS[1], Math.max(COLUMN_GAPS[0], (width - NAMES) / 2));
  for (const node of fresh) {
    const near = node.edges.map((edge) => other(edge, node).y).filter((y) => y !== undefined);
    node.isNarrow = gap < COLUMN_GAPS[1] / 2;
    node.home = COLUMN[node.kind] * gap * spread;
    node.x = node.home + (chance(node.id, 7) - 0.5) * 20;
    node.y = near.length ? mean(near) : (chance(node.id, 3) - 0.5) * APART * Math.sqrt(nodes.length) * 2;
  }
  const movable = new Set(fresh);
  const edges = [...model.edges.values()];
  for (let step = 0; step < STEPS; step += 1) {
    const heat = 1 - step / STEPS;
    for (const edge of edges) pull(edge, heat, movable);
    for (const node of fresh) {
      node.x += (node.home - node.x) * 0.12;
      node.y *= 1 - 0.01 * heat;
    }
    push(nodes, movable);
  }
  if (fresh.length === nodes.length) stretch(nodes, width, height);
}

/** The first layout takes the height that the page has; names in the middle get room. */
function stretch(nodes, width, height) {
  const [top, bottom] = bounds(nodes, "y");
  const [left, right] = bounds(nodes, "x");
  const wanted = ((right - left + 2 * NAMES) * height) / Math.max(1, width) - APART;
  const factor = Math.min(MOST_STRETCH, Math.max(1, wanted / Math.max(APART, bottom - top)));
  for (const node of nodes) node.y = (node.y - (top + bottom) / 2) * factor;
}

function bounds(nodes, axis) {
  const values = nodes.map((node) => node[axis]);
  return [Math.min(...values), Math.max(...values)];
}

export function curve({ source, target }) {
  const middle = (source.x + target.x) / 2;
  return [source.x, source.y, middle, source.y, middle, target.y, target.x, target.y];
}

const BELOW = { anchor: "middle", side: 1 };
const ABOVE = { anchor: "middle", side: -1 };
const LEFT = { anchor: "end" };
const RIGHT = { anchor: "start" };
const SPOTS = {
  producer: [LEFT, BELOW, ABOVE, RIGHT],
  topic: [BELOW, ABOVE, RIGHT, LEFT],
  consumer: [RIGHT, BELOW, ABOVE, LEFT],
};

/** Where a node's name may go, the best first. */
export function spots({ kind, isNarrow }) {
  return SPOTS[isNarrow ? "topic" : kind];
}

function pull({ source, target }, heat, movable) {
  const step = (target.y - source.y) * 0.06 * heat;
  if (movable.has(source)) source.y += step / Math.sqrt(source.edges.length);
  if (movable.has(target)) target.y -= step / Math.sqrt(target.edges.length);
}

/** Separates nodes that are too near; a grid finds them without looking at every pair. */
function push(nodes, movable) {
  const cells = new Map();
  const cellOf = (node) => [Math.floor((node.x * ACROSS) / APART), Math.floor(node.y / APART)];
  for (const node of nodes) {
    const key = cellOf(node).join();
    if (cells.has(key)) cells.get(key).push(node);
    else cells.set(key, [node]);
  }
  for (const node of movable) {
    const [column, row] = cellOf(node);
    for (let i = column - 1; i <= column + 1; i += 1) {
      for (let j = row - 1; j <= row + 1; j += 1) {
        for (const near of cells.get(`${i},${j}`) ?? []) separate(node, near, movable.has(near));
      }
    }
  }
}

function separate(node, near, isNearMovable) {
  if (node === near) return;
  const across = (node.x - near.x) * ACROSS;
  const down = node.y - near.y || chance(node.id, 5) - chance(near.id, 5) || 0.1;
  const distance = Math.hypot(across, down);
  if (distance >= APART) return;
  const share = ((APART - distance) / distance) * (isNearMovable ? 0.25 : 0.5);
  node.x += (across / ACROSS) * share * 0.5;
  node.y += down * share;
}

function other(edge, node) {
  return edge.source === node ? edge.target : edge.source;
}

function mean(numbers) {
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}

/** A number from 0 to 1 that is always the same for a text. */
function chance(text, seed) {
  let hash = seed * 2654435761;
  for (const letter of text) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619);
  return ((hash ^ (hash >>> 15)) >>> 0) / 2 ** 32;
}
