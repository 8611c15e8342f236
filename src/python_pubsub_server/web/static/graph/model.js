/** What a graph shows: producers, topics and consumers as nodes, who sends what to whom as edges. */
const SILENT_BELOW = 0.02; // messages a second
const MOST_KNOWN = 10_000;

// Behind by less than comes in so many seconds, and not by more than a few: that is on its way.
const LAGS = [
  { name: "late", seconds: 30, messages: 100 },
  { name: "slow", seconds: 3, messages: 10 },
];

/**
 * @typedef {{id, kind: "producer" | "topic" | "consumer", name, rate, edges: Edge[]}} GraphNode
 *   with `x`, `y` once a layout has placed it
 * @typedef {{id, kind: "publish" | "consume", source: GraphNode, target: GraphNode, count, rate,
 *   flow, state: "flowing" | "silent" | "away", lag: number | null,
 *   delay: "none" | "slow" | "late"}} Edge
 *   `flow`: messages a second that pass; `rate`: of a consumer, how many it confirms; `lag`: how
 *   many it has not confirmed yet; `delay`: what that means beside what flows
 */
export class Model {
  nodes = new Map();
  edges = new Map();
  #known = new Map(); // nodes that there were, too: they keep their places while they are hidden
  #links = new Set(); // the ids of all edges of the state, those that are hidden too

  /**
   * Takes over the server's state; nodes that were there stay the same objects.
   * @param {{links: object[]}} state of GET /graph/state
   * @param {(topic: string) => boolean} accepts which topics to show
   * @returns {boolean} whether there are nodes or edges that were not there, or others went
   */
  update(state, accepts) {
    const before = [...this.nodes.keys(), ...this.edges.keys()].join("\n");
    this.nodes = new Map();
    this.edges = new Map();
    this.#links = new Set();
    for (const link of state.links) {
      const isPublish = link.type === "publish";
      const [name, topic] = isPublish ? [link.source, link.target] : [link.target, link.source];
      const id = edgeId(link.type, name, topic);
      this.#links.add(id);
      if (accepts(topic)) this.#link(id, link);
    }
    this.#judge();
    this.#forget();
    return before !== [...this.nodes.keys(), ...this.edges.keys()].join("\n");
  }

  /** The edge of a producer's or consumer's name with a topic, if it is shown. */
  edge(kind, name, topic) {
    return this.edges.get(edgeId(kind, name, topic));
  }

  /** Whether the server has told of an edge, be it shown or not. */
  knows(kind, name, topic) {
    return this.#links.has(edgeId(kind, name, topic));
  }

  node(kind, name) {
    return this.nodes.get(`${kind} ${name}`);
  }

  #link(id, { source, target, type, count, rate, lag = null, live = true }) {
    const isPublish = type === "publish";
    const edge = {
      id,
      kind: type,
      source: this.#node(isPublish ? "producer" : "topic", source),
      target: this.#node(isPublish ? "topic" : "consumer", target),
      count,
      rate,
      lag,
      isLive: live,
    };
    edge.source.edges.push(edge);
    edge.target.edges.push(edge);
    this.edges.set(id, edge);
  }

  #node(kind, name) {
    const id = `${kind} ${name}`;
    let node = this.nodes.get(id);
    if (!node) {
      node = this.#known.get(id) ?? { id, kind, name };
      node.edges = [];
      this.#known.set(id, node);
      this.nodes.set(id, node);
    }
    return node;
  }

  #forget() {
    for (const id of this.#known.keys()) {
      if (this.#known.size <= MOST_KNOWN) return;
      if (!this.nodes.has(id)) this.#known.delete(id);
    }
  }

  /** Finds how much passes where, and what is silent, behind or away. */
  #judge() {
    const sum = (edges) => edges.reduce((total, edge) => total + edge.rate, 0);
    for (const node of this.nodes.values()) {
      node.rate = sum(node.edges.filter((edge) => (edge.kind === "consume") === (node.kind === "consumer")));
    }
    for (const edge of this.edges.values()) {
      const passing = edge.kind === "publish" ? edge.rate : edge.source.rate;
      edge.flow = edge.isLive ? passing : 0;
      edge.state = stateOf(edge);
      edge.delay = delayOf(edge);
    }
  }
}

function stateOf({ isLive, flow }) {
  if (!isLive) return "away";
  return flow < SILENT_BELOW ? "silent" : "flowing";
}

/** How a consumer's lag is beside what comes. */
export function delayOf({ lag, flow }) {
  if (lag === null) return "none"; // it does not confirm at all
  const found = LAGS.find(({ seconds, messages }) => lag >= Math.max(messages, seconds * flow));
  return found?.name ?? "none";
}

function edgeId(kind, name, topic) {
  return `${kind} ${topic.length} ${topic} ${name}`;
}
