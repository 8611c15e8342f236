/** A plane on which boxes, turned by any angle, take places. A box is its four corners, in order. */
const CELL = 48;

/** A point beside another one, turned around it by degrees. */
export function turned(x, y, across, down, angle) {
  const radians = (angle * Math.PI) / 180;
  const [sine, cosine] = [Math.sin(radians), Math.cos(radians)];
  return { x: x + across * cosine - down * sine, y: y + across * sine + down * cosine };
}

/** Whether two boxes overlap: they do if no side of theirs parts them. */
export function crosses(one, two) {
  return !isParted(one, two) && !isParted(two, one);
}

function isParted(one, two) {
  for (let side = 0; side < 2; side += 1) {
    const [from, to] = [one[side], one[side + 1]];
    const along = ({ x, y }) => (to.y - from.y) * x - (to.x - from.x) * y;
    const [a, b] = [one.map(along), two.map(along)];
    if (Math.max(...a) <= Math.min(...b) || Math.max(...b) <= Math.min(...a)) return true;
  }
  return false;
}

export class Ground {
  #width;
  #height;
  #cells = new Map();

  constructor(width, height) {
    this.#width = width;
    this.#height = height;
  }

  /** Whether a box is inside, or sticks out by so much at most. */
  holds(box, margin = 0) {
    return box.every(
      ({ x, y }) => x >= -margin && y >= -margin && x <= this.#width + margin && y <= this.#height + margin,
    );
  }

  /** Whether a box is inside and on nothing but what its owner has taken. */
  isFree(box, owner) {
    if (!this.holds(box)) return false;
    for (const key of keys(box)) {
      for (const taken of this.#cells.get(key) ?? []) {
        if (taken.owner !== owner && crosses(taken.box, box)) return false;
      }
    }
    return true;
  }

  take(box, owner) {
    for (const key of keys(box)) {
      if (!this.#cells.has(key)) this.#cells.set(key, []);
      this.#cells.get(key).push({ box, owner });
    }
  }
}

function* keys(box) {
  const range = (pick) => {
    const values = box.map(pick);
    return [Math.floor(Math.min(...values) / CELL), Math.floor(Math.max(...values) / CELL)];
  };
  const [left, right] = range(({ x }) => x);
  const [top, bottom] = range(({ y }) => y);
  for (let column = left; column <= right; column += 1) {
    for (let row = top; row <= bottom; row += 1) yield column * 10_000 + row;
  }
}
