import { arrange, byId, fill, instantiate, setName, setText } from "../page/dom.js";
import { language, say } from "../page/language.js";
import { count, duration, milliseconds, rate, showTime } from "../page/text.js";

const STATES = { up: "up", draining: "stopping", lost: "lost", unseen: "not seen", stopped: "stopped" };

/** The nodes as a table, in which each keeps its row. */
export class Nodes {
  #body = byId("nodes");
  #rows = new Map(); // id → tr

  /** @param {Array<object>} nodes of the model, each with its `series` */
  show(nodes, now) {
    arrange(this.#body, nodes.map((node) => this.#row(node, now)));
    const there = new Set(nodes.map(({ node_id }) => node_id));
    for (const id of this.#rows.keys()) if (!there.has(id)) this.#rows.delete(id);
    setText(byId("nodes-count"), count(nodes.length));
    byId("nodes-empty").hidden = nodes.length > 0;
    byId("nodes-box").hidden = nodes.length === 0;
  }

  #row(node, now) {
    const row = this.#rows.get(node.node_id) ?? instantiate("node-template");
    this.#rows.set(node.node_id, row);
    row.dataset.state = node.state;
    row.dataset.node = node.node_id;
    row.dataset.series = node.series;
    setName(row.querySelector('[data-field="host"]'), String(node.host));
    const isThere = node.state === "up" || node.state === "draining";
    const live = (value, text) => (isThere && value !== undefined && value !== null ? text(value) : "–");
    fill(row, {
      id: node.node_id,
      state: say(STATES[node.state]),
      pid: node.pid,
      version: node.version ?? "",
      connections: live(node.connections, count),
      published: live(node.messages_per_second, rate),
      delivered: live(node.deliveries_per_second, rate),
      cpu: live(node.cpu_percent, percent),
      memory: live(node.memory_mb, (value) => `${count(Math.round(value))}\u00a0${language === "fr" ? "Mo" : "MB"}`),
      lag: live(node.loop_lag_ms, (value) => `${milliseconds(value)}\u00a0ms`),
      problem: node.problem,
    });
    const uptime = row.querySelector("[data-uptime]");
    setText(uptime, isThere ? duration(now - node.started_at) : "");
    const seen = row.querySelector("time");
    seen.hidden = isThere;
    if (!isThere) showTime(seen, node.last_seen);
    return row;
  }
}

export function percent(value) {
  return `${value.toLocaleString(language, { maximumFractionDigits: value < 10 ? 1 : 0 })}\u00a0%`;
}
