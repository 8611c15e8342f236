/** What a graph shows: producers, topics and consumers as nodes, who sends what to whom as edges. */
import { matches } from "../page/topics.js";

const SILENT_BELOW = 0.02; // messages a second

/**
 * @typedef {{id, kind: "producer" | "topic" | "consumer", name, rate, edges: Edge[]}} GraphNode
 *   with `x`, `y` once a layout has placed it
 * @typedef {{id, kind: "publish" | "consume", source: GraphNode, target: GraphNode, count, rate,
 *   flow, state: "flowing" | "silent" | "behind" | "away"}} Edge
 *   `flow`: messages a second that pass; `rate`: of a consumer, how many it confirms
 */
export class Model {
  nodes = new Map();
  edges = new Map();
  #known = new Map(); // every node that there was: it keeps its place while it is hidden

  /**
   * Takes over the server's state; nodes that were there stay the same objects.
   * @param {{links: object[]}} state of GET /graph/state
   * @param {{consumer, topic}[]} clients of GET /clients
   * @param {(topic: string) => boolean} accepts which topics to show
   * @returns {boolean} whether there are nodes or edges that were not there, or others went
   */
  update(state, clients, accepts) {
    const before = [...this.nodes.keys(), ...this.edges.keys()].join("\n");
    this.nodes = new Map();
    this.edges = new Map();
    for (const link of state.links) {
      const topic = link.type === "publish" ? link.target : link.source;
      if (accepts(topic)) this.#link(link);
    }
    this.#judge(listeners(state, clients));
    return before !== [...this.nodes.keys(), ...this.edges.keys()].join("\n");
  }

  /** The edge of a producer's or consumer's name with a topic, if it is shown. */
  edge(kind, name, topic) {
    return this.edges.get(edgeId(kind, name, topic));
  }

  node(kind, name) {
    return this.nodes.get(`${kind} ${name}`);
  }

  #link({ source, target, type, count, rate }) {
    const isPublish = type === "publish";
    const id = isPublish ? edgeId(type, source, target) : edgeId(type, target, source);
    const edge = {
      id,
      kind: type,
      source: this.#node(isPublish ? "producer" : "topic", source),
      target: this.#node(isPublish ? "topic" : "consumer", target),
      count,
      rate,
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

  /** Finds how much passes where, and what is silent, behind or away. */
  #judge(live) {
    const sum = (edges) => edges.reduce((total, edge) => total + edge.rate, 0);
    for (const node of this.nodes.values()) {
      node.rate = sum(node.edges.filter((edge) => (edge.kind === "consume") === (node.kind === "consumer")));
    }
    for (const edge of this.edges.values()) {
      const passing = edge.kind === "publish" ? edge.rate : edge.source.rate;
      const isLive = edge.kind === "publish" || live.has(edge.id);
      edge.flow = isLive ? passing : 0;
      edge.state = stateOf(edge, isLive);
    }
  }
}

function stateOf(edge, isLive) {
  if (!isLive) return "away";
  if (edge.flow < SILENT_BELOW) return "silent";
  const confirms = edge.kind === "consume" && edge.count > 0;
  return confirms && edge.rate < edge.flow / 2 ? "behind" : "flowing";
}

/** The ids of the edges on which somebody listens now. */
function listeners(state, clients) {
  const topics = new Set(state.topics);
  const covered = new Map();
  const live = new Set();
  for (const { consumer, topic } of clients) {
    if (!covered.has(topic)) {
      covered.set(topic, topic.endsWith("*") ? [...topics].filter((t) => matches(topic, t)) : [topic]);
    }
    for (const each of covered.get(topic)) live.add(edgeId("consume", consumer, each));
  }
  return live;
}

function edgeId(kind, name, topic) {
  return `${kind} ${topic.length} ${topic} ${name}`;
}
