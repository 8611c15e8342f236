/**
 * A ring: topics above, producers to the lower left, consumers to the lower right. The edges of a
 * topic run together near it, those of producers and consumers in the middle of their arc.
 */
const APART = 30;
const LEAST_RADIUS = 190;
const GAP = 0.06; // of a turn, between two arcs: 3 gaps
const ORDER = ["topic", "consumer", "producer"]; // clockwise

/** Places every node; they are in the order of their names, so each keeps its neighbours. */
export function place(model) {
  const arcs = ORDER.map((kind) =>
    [...model.nodes.values()]
      .filter((node) => node.kind === kind)
      .sort((one, two) => (one.name < two.name ? -1 : 1)),
  );
  const total = Math.max(1, arcs.flat().length);
  const radius = Math.max(LEAST_RADIUS, (total * APART) / (2 * Math.PI * (1 - 3 * GAP)));
  const room = 1 - 3 * GAP;
  let turn = -(arcs[0].length / total) * room * 0.5; // the topics are centred above
  for (const nodes of arcs) {
    const share = (nodes.length / total) * room;
    const centre = point(turn + share / 2, radius);
    nodes.forEach((node, index) => {
      node.turn = turn + (share * (index + 0.5)) / nodes.length;
      Object.assign(node, point(node.turn, radius), { centre });
    });
    turn += share + GAP;
  }
}

export function curve({ source, target }) {
  const out = inward(source);
  const into = inward(target);
  return [source.x, source.y, out.x, out.y, into.x, into.y, target.x, target.y];
}

/** A name continues the line from the middle of the ring to its node. */
export function spots({ turn }) {
  const isLeft = (((turn % 1) + 1) % 1) > 0.5;
  return [{ anchor: isLeft ? "end" : "start", angle: turn * 360 - 90 + (isLeft ? 180 : 0) }];
}

/** The point towards which a node's edges run: near it for a topic, else shared by its arc. */
function inward({ kind, x, y, centre }) {
  if (kind === "topic") return { x: x * 0.45, y: y * 0.45 };
  return { x: centre.x * 0.3 + x * 0.12, y: centre.y * 0.3 + y * 0.12 };
}

/** A turn of 0 is above, then clockwise. */
function point(turn, radius) {
  const angle = turn * 2 * Math.PI;
  return { x: radius * Math.sin(angle), y: -radius * Math.cos(angle) };
}
