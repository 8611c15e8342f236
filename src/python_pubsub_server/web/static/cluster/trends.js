/** What the nodes measured in the last hour, in steps of ten seconds. Without I/O. */
const STEP = 10;
export const SECONDS = 3_600;

export class Trends {
  #metrics = new Map(); // metric → node → step → {sum, count, high}

  /** What `GET /api/cluster/history` answers, of seconds or of minutes; seconds replace what is known. */
  load({ step, nodes }) {
    if (step <= STEP) this.#metrics.clear();
    for (const { node_id, metrics } of nodes) {
      for (const [metric, points] of Object.entries(metrics)) {
        for (const [at, mean, high] of points) this.#load(metric, node_id, at, mean, high, step);
      }
    }
  }

  /** A node's report on `cluster:metrics`. */
  hear({ node_id, samples }) {
    for (const { timestamp, ...metrics } of samples) {
      for (const [metric, value] of Object.entries(metrics)) {
        if (value !== null) this.#add(metric, node_id, timestamp, value);
      }
    }
  }

  /** By node, its points `{at, value, high}`, the oldest first. */
  of(metric, now) {
    const found = new Map();
    for (const [node, steps] of this.#metrics.get(metric) ?? []) {
      const first = (now - SECONDS) / STEP;
      const points = [];
      for (const [slot, { sum, count, high }] of steps) {
        if (slot < first) steps.delete(slot);
        else points.push({ at: (slot + 0.5) * STEP, value: sum / count, high });
      }
      if (!steps.size) this.#metrics.get(metric).delete(node); // it has been gone for an hour
      if (points.length) found.set(node, points.sort((one, two) => one.at - two.at));
    }
    return found;
  }

  /** A loaded minute fills a step of its own in the middle, unless more is known of that time. */
  #load(metric, node, at, mean, high, step) {
    if (step <= STEP) return this.#add(metric, node, at, mean, high);
    const slot = Math.floor((at + step / 2) / STEP);
    const steps = this.#steps(metric, node);
    if (!steps.has(slot)) steps.set(slot, { sum: mean, count: 1, high });
  }

  #add(metric, node, at, value, high = value) {
    const steps = this.#steps(metric, node);
    const slot = Math.floor(at / STEP);
    const known = steps.get(slot) ?? { sum: 0, count: 0, high: value };
    steps.set(slot, { sum: known.sum + value, count: known.count + 1, high: Math.max(known.high, high) });
  }

  #steps(metric, node) {
    const nodes = this.#metrics.get(metric) ?? new Map();
    this.#metrics.set(metric, nodes);
    const steps = nodes.get(node) ?? new Map();
    nodes.set(node, steps);
    return steps;
  }
}
