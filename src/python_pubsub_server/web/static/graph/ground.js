/** A plane on which boxes, turned by any angle, take places. A box is its four corners, in order. */
const CELL = 48;

/** A point beside another one, turned around it by degrees. */
export function turned(x, y, across, down, angle) {
  if (!angle) return { x: x + across, y: y + down };
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
    const [least, most] = reach(one, from, to);
    const [otherLeast, otherMost] = reach(two, from, to);
    if (most <= otherLeast || otherMost <= least) return true;
  }
  return false;
}

/** From where to where a box lies across a line. */
function reach(box, from, to) {
  let [least, most] = [Infinity, -Infinity];
  for (const { x, y } of box) {
    const across = (to.y - from.y) * x - (to.x - from.x) * y;
    least = Math.min(least, across);
    most = Math.max(most, across);
  }
  return [least, most];
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
    const area = areaOf(box);
    return this.#cellsOf(area).every((cell) =>
      cell.every((taken) => taken.owner === owner || !meets(taken.area, area) || !crosses(taken.box, box)),
    );
  }

  take(box, owner) {
    const area = areaOf(box);
    for (const cell of this.#cellsOf(area)) cell.push({ box, owner, area });
  }

  #cellsOf({ left, right, top, bottom }) {
    const cells = [];
    for (let column = Math.floor(left / CELL); column <= right / CELL; column += 1) {
      for (let row = Math.floor(top / CELL); row <= bottom / CELL; row += 1) {
        const key = column * 10_000 + row;
        let cell = this.#cells.get(key);
        if (!cell) this.#cells.set(key, (cell = []));
        cells.push(cell);
      }
    }
    return cells;
  }
}

/** The upright box around a box. */
function areaOf([a, b, c, d]) {
  return {
    left: Math.min(a.x, b.x, c.x, d.x),
    right: Math.max(a.x, b.x, c.x, d.x),
    top: Math.min(a.y, b.y, c.y, d.y),
    bottom: Math.max(a.y, b.y, c.y, d.y),
  };
}

function meets(one, two) {
  return one.left < two.right && two.left < one.right && one.top < two.bottom && two.top < one.bottom;
}
