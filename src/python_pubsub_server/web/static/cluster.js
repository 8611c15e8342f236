/** The cluster: its nodes, what is wrong, and the last hour of each; from then on live. */
import { Alerts } from "./cluster/alerts.js";
import { Chart } from "./cluster/chart.js";
import { ClusterModel, isReport, QUIET_SECONDS } from "./cluster/model.js";
import { Nodes, percent } from "./cluster/nodes.js";
import { Summary } from "./cluster/summary.js";
import { Trends } from "./cluster/trends.js";
import * as access from "./page/access.js";
import { byId, setText } from "./page/dom.js";
import { getJSON } from "./page/http.js";
import { say } from "./page/language.js";
import { openShell } from "./page/shell.js";
import { count, keepTimes, milliseconds, rate } from "./page/text.js";
import { PubSubClient } from "./pubsub-client.js";

const RECENT_SECONDS = 880; // for so long the nodes know each second
const DRAW_EVERY_MS = 1_000;
const READ_AGAIN_SECONDS = 5;
const BACKOFF = { max: 5_000 }; // who watches a cluster wants to know soon that a node is back
const CHANNELS = ["cluster:metrics", "cluster:health", "cluster:alerts"];
const COLOURS = 8;
const METRICS = [
  { name: "cpu_percent", title: "CPU", unit: "", text: percent },
  { name: "memory_mb", title: "Memory", unit: "MB", text: (value) => count(Math.round(value)) },
  { name: "loop_lag_ms", title: "Event loop, delay", unit: "ms", text: milliseconds },
  { name: "messages_per_second", title: "Published", unit: "a second", text: rate },
  { name: "deliveries_per_second", title: "Delivered", unit: "a second", text: rate },
  { name: "connections", title: "Connections", unit: "", text: (value) => count(Math.round(value)) },
  { name: "commit_ms", title: "Commit", unit: "ms", text: milliseconds },
  { name: "disk_free_percent", title: "Disk, free", unit: "", text: percent, top: 100 },
];

const client = new PubSubClient(location.origin, { auth: access.handshake, resume: false, backoff: BACKOFF });
openShell(client);
keepTimes();

const title = document.title;
const model = new ClusterModel();
const trends = new Trends();
const summary = new Summary();
const nodes = new Nodes();
const alerts = new Alerts();
const charts = METRICS.map((metric) => new Chart(metric, (at) => charts.forEach((chart) => chart.point(at))));
byId("charts").append(...charts.map(({ element }) => element));
const series = new Map(); // node → the number of its colour, for as long as the page is open
let hasNews = false;
let isLive = false; // all was read on this connection, and what comes is heard
let readAgainAt = Infinity;
let serverAhead = 0; // seconds that its clock is ahead of this machine's

const seconds = () => Date.now() / 1000;
const serverSeconds = () => seconds() + serverAhead;

function fail(error) {
  setText(byId("cluster-error"), error ? say("Not up to date: {reason}", { reason: error.message }) : "");
  byId("cluster").dataset.state = error ? "stale" : "live";
}

/** What went wrong; whom this tab speaks for is told by the shell. */
function refused(error) {
  if (error.code === "forbidden") access.standing.become("user");
  else if (!access.isRefusal(error)) {
    fail(error);
    readAgainAt = seconds() + READ_AGAIN_SECONDS;
  }
}

/** Nobody tells anything: its node stands still, or the way to it is broken. Another way may not be. */
function reconnect() {
  isLive = false;
  client.reconnect();
  fail(new Error(say("nothing was heard for {number} seconds", { number: QUIET_SECONDS })));
}

/** All that is known on the server; what comes later is told. */
async function read() {
  readAgainAt = Infinity;
  try {
    if (!client.topics.length) await client.subscribe(CHANNELS); // later it does so by itself
    const [listed, alerted, minutes] = await Promise.all([
      getJSON("/api/cluster/nodes"),
      getJSON("/api/cluster/alerts"),
      getJSON("/api/cluster/history"), // the last hour, and a second more
    ]);
    serverAhead = minutes.rows.to - 1 - seconds();
    const recent = await getJSON(`/api/cluster/history?from=${serverSeconds() - RECENT_SECONDS}`);
    model.list(listed.rows.nodes, seconds());
    model.listAlerts(alerted.rows);
    trends.load(recent.rows);
    trends.load(minutes.rows);
    access.standing.become("admin");
    fail(null);
    isLive = true;
    show();
  } catch (error) {
    refused(error);
  }
}

/** A node's own report, or what a program said. */
function hear(channel, value) {
  if (!isReport(channel, value)) {
    if (channel !== "cluster:metrics" || !Array.isArray(value?.nodes)) alerts.say(channel, value);
    return;
  }
  hasNews = true;
  if (channel === "cluster:metrics") {
    model.hearMetrics(value, seconds());
    trends.hear(value);
  } else if (channel === "cluster:health") model.hearHealth(value, seconds());
  else model.hearAlert(value);
}

function show() {
  const now = seconds();
  const rows = model.nodes(now).map((node) => ({ ...node, series: colourOf(node.node_id) }));
  nodes.show(rows, serverSeconds());
  alerts.show(model.active, model.ended);
  summary.show(model.sums(now), now, hasNews);
  hasNews = false;
  const named = rows
    .filter(({ state }) => state !== "stopped")
    .map(({ node_id, host, series }) => ({ id: node_id, name: nameOf(node_id, host, rows), series }));
  charts.forEach((chart, index) => chart.draw(trends.of(METRICS[index].name, serverSeconds()), named, serverSeconds()));
  document.title = model.active.length ? `(${model.active.length}) ${title}` : title;
}

function colourOf(id) {
  if (!series.has(id)) series.set(id, series.size % COLOURS);
  return series.get(id);
}

/** A node's host, where that is enough to know it by. */
function nameOf(id, host, rows) {
  return rows.filter((row) => row.host === host).length > 1 ? id.slice(0, 6) : host;
}

for (const channel of CHANNELS) client.on(`redis_${channel.replace(":", "_")}`, (value) => hear(channel, value));
client.on("error", refused);
client.on("state", ({ name, error }) => {
  isLive = false;
  if (name === "connected") read();
  else if (error) refused(error);
});
setInterval(() => {
  if (client.state.name !== "connected") return;
  if (isLive && model.isQuiet(seconds())) reconnect();
  else if (seconds() > readAgainAt) read();
  else if (!document.hidden) show();
}, DRAW_EVERY_MS);
document.addEventListener("visibilitychange", () => document.hidden || show());
