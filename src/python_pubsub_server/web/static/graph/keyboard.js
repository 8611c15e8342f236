const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The nearest node in the direction of an arrow key, seen from a node. */
export function nearest(from, key, nodes) {
  const direction = DIRECTIONS[key];
  if (!from || !direction) return undefined;
  let best;
  let least = Infinity;
  for (const node of nodes) {
    const [x, y] = [node.x - from.x, node.y - from.y];
    const ahead = x * direction[0] + y * direction[1];
    const aside = Math.abs(x * direction[1]) + Math.abs(y * direction[0]);
    const cost = ahead + 2 * aside;
    if (ahead > 1 && cost < least) [best, least] = [node, cost];
  }
  return best;
}
