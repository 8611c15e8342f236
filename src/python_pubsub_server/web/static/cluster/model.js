/**
 * The nodes and their alerts, as told by the server at first and by the nodes from then on. Without
 * I/O; `now` is always the page's own Unix time, against which silence is measured.
 */
export const QUIET_SECONDS = 6; // without any report, not even of the node that the page is connected to
const SILENT_SECONDS = 10; // a node tells of itself every two
const GONE_SECONDS = 300; // a node that said goodbye is shown that long
const LOST_SECONDS = 3_600;
const MOST_ENDED = 100;

export class ClusterModel {
  #nodes = new Map(); // id → {facts, heardAt, isStopped, isReplaced, health}
  #active = new Map(); // id → alert
  #ended = []; // latest first
  #heardAt = 0; // the last that was heard of any node
  #blindUntil = 0; // while its node has no Redis, the page does not hear the others

  /** The rows of `GET /api/cluster/nodes`: these are there. */
  list(rows, now) {
    this.#heardAt = now;
    const there = new Set(rows.map((row) => row.node_id));
    for (const row of rows) {
      const known = this.#node(row.node_id);
      known.facts = { ...known.facts, ...row };
      known.heardAt = now;
      known.isStopped = false;
    }
    for (const [id, node] of this.#nodes) if (!there.has(id)) node.heardAt = Math.min(node.heardAt, now - SILENT_SECONDS - 1);
  }

  /** A node's report on `cluster:metrics`. */
  hearMetrics({ samples, ...facts }, now) {
    const node = this.#node(facts.node_id);
    node.facts = { ...node.facts, ...facts, ...overall(samples) };
    node.heardAt = this.#heardAt = now;
    node.isStopped = node.isReplaced = false;
    if (facts.bus) this.#blindUntil = now + SILENT_SECONDS; // only its own clients can hear such a report
  }

  /** A node's report on `cluster:health`; the last one of a node says that it stopped. */
  hearHealth({ node_id, status, checks, version, alerts }, now) {
    const node = this.#node(node_id);
    node.health = { status, checks };
    node.facts = { ...node.facts, node_id, version };
    node.isStopped = status === "stopped";
    node.heardAt = this.#heardAt = now;
    for (const alert of alerts ?? []) this.hearAlert(alert);
  }

  /** An alert that begins or ends. */
  hearAlert(alert) {
    const known = this.#active.get(alert.id);
    if (alert.state === "begin") {
      this.#active.set(alert.id, alert);
      return;
    }
    this.#active.delete(alert.id);
    const isKnown = this.#ended.some(({ id, since }) => id === alert.id && since === alert.since);
    if (!isKnown) this.#ended = [{ ...known, ...alert }, ...this.#ended].slice(0, MOST_ENDED);
    if (alert.kind === "node_lost") this.#found(alert.subject);
  }

  /** What `GET /api/cluster/alerts` answers. */
  listAlerts({ active, ended }) {
    this.#active = new Map(active.map((alert) => [alert.id, alert]));
    this.#ended = ended.slice(0, MOST_ENDED);
  }

  /** Whether nobody tells anything: then it is the page that hears nothing, and knows of no node. */
  isQuiet(now) {
    return now - this.#heardAt > QUIET_SECONDS;
  }

  /** What is wrong now, the latest first. */
  get active() {
    return [...this.#active.values()].sort((one, two) => two.since - one.since);
  }

  get ended() {
    return this.#ended;
  }

  /** Every node to be shown, the oldest first: its facts, `state` and `problem`, "" when it is well. */
  nodes(now) {
    now = Math.min(now, this.#heardAt + QUIET_SECONDS); // what nobody tells of makes no node older
    this.#forget(now);
    return [...this.#nodes.values()]
      .filter(({ facts }) => facts.started_at !== undefined)
      .map((node) => ({ ...node.facts, state: this.#state(node, now), problem: problemOf(node) }))
      .sort((one, two) => one.started_at - two.started_at || (one.node_id < two.node_id ? -1 : 1));
  }

  /** All nodes that are there, together. */
  sums(now) {
    const all = this.nodes(now);
    const there = all.filter(({ state }) => state === "up" || state === "draining");
    const sum = (name) => there.reduce((total, node) => total + (node[name] ?? 0), 0);
    const [lost, unseen] = ["lost", "unseen"].map((name) => all.filter(({ state }) => state === name).length);
    return {
      up: there.length,
      lost,
      unseen,
      total: there.length + lost + unseen,
      alerts: this.#active.size,
      connections: sum("connections"),
      subscriptions: sum("subscriptions"),
      published: sum("messages_per_second"),
      delivered: sum("deliveries_per_second"),
    };
  }

  #node(id) {
    const known = this.#nodes.get(id);
    if (known) return known;
    const node = { facts: {}, heardAt: 0, isStopped: false, isReplaced: false, health: null };
    this.#nodes.set(id, node);
    return node;
  }

  #state({ facts, heardAt, isStopped }, now) {
    if (isStopped) return "stopped";
    if (this.#active.has(`node_lost:${facts.node_id}`)) return "lost";
    if (now - heardAt > SILENT_SECONDS) return now < this.#blindUntil ? "unseen" : "lost";
    return facts.status === "draining" ? "draining" : "up";
  }

  /** A lost node is missed no more: it is back, or another one took its place. */
  #found(id) {
    const node = this.#nodes.get(id);
    if (node) node.isReplaced = true;
  }

  #forget(now) {
    for (const [id, { heardAt, isStopped, isReplaced }] of this.#nodes) {
      const silent = now - heardAt;
      const most = isReplaced ? SILENT_SECONDS : isStopped ? GONE_SECONDS : LOST_SECONDS;
      if (silent > most) this.#nodes.delete(id);
    }
  }
}

/** What a report's seconds were like together: the mean of each number, the worst delay. */
function overall(samples) {
  const found = {};
  for (const name of ["messages_per_second", "deliveries_per_second", "cpu_percent"]) {
    const values = samples.map((sample) => sample[name]).filter((value) => typeof value === "number");
    if (values.length) found[name] = values.reduce((sum, value) => sum + value, 0) / values.length;
  }
  const delays = samples.map((sample) => sample.loop_lag_ms).filter((value) => typeof value === "number");
  if (delays.length) found.loop_lag_ms = Math.max(...delays);
  return found;
}

function problemOf({ facts, health }) {
  const found = [];
  for (const name of ["database", "bus"]) {
    const failure = facts[name] === undefined ? health?.checks?.[name]?.message : facts[name];
    if (failure) found.push(`${name}: ${failure}`);
  }
  return found.join(" · ");
}

/** Whether what came on a channel is a report of a node: programs may say anything there. */
export function isReport(channel, value) {
  if (typeof value?.reported_by !== "string") return false;
  if (channel === "cluster:metrics") return typeof value.node_id === "string" && Array.isArray(value.samples);
  if (channel === "cluster:health") return typeof value.node_id === "string" && typeof value.status === "string";
  return typeof value.id === "string" && ["begin", "end"].includes(value.state) && typeof value.since === "number";
}
