import assert from "node:assert/strict";
import { test } from "node:test";

import { ClusterModel, isReport } from "../../src/python_pubsub_server/web/static/cluster/model.js";
import { Trends } from "../../src/python_pubsub_server/web/static/cluster/trends.js";

const facts = (id, more) => ({ node_id: id, host: "shop-1", pid: 7, status: "up", started_at: 100, last_seen: 200, connections: 2, ...more });
const report = (id, more) => ({ reported_by: id, samples: [], database: null, bus: null, ...facts(id), ...more });
const lostAlert = (id, more) => ({ reported_by: "a", id: `node_lost:${id}`, kind: "node_lost", state: "begin", node: id, subject: id, text: "gone", since: 1_000, until: null, ...more });
const states = (model, now) => Object.fromEntries(model.nodes(now).map(({ node_id, state }) => [node_id, state]));

test("a node that tells nothing for ten seconds is lost, and back as soon as it tells", () => {
  const model = new ClusterModel();
  model.list([facts("a"), facts("b")], 1_000);
  model.hearMetrics(report("a"), 1_009);
  assert.deepEqual(states(model, 1_011), { a: "up", b: "lost" });
  assert.deepEqual(model.sums(1_011).up, 1);
  assert.deepEqual(model.sums(1_011).total, 2);
  model.hearMetrics(report("b"), 1_012);
  assert.deepEqual(states(model, 1_012), { a: "up", b: "up" });
});

test("an alert makes a node lost at once; its end keeps what it was", () => {
  const model = new ClusterModel();
  model.list([facts("a"), facts("b")], 1_000);
  model.hearAlert(lostAlert("b"));
  assert.deepEqual(states(model, 1_001), { a: "up", b: "lost" });
  assert.equal(model.active.length, 1);
  const end = lostAlert("b", { state: "end", until: 1_030 });
  model.hearAlert(end);
  model.hearAlert(end); // told twice
  assert.equal(model.active.length, 0);
  assert.deepEqual(model.ended.map(({ id, until }) => [id, until]), [["node_lost:b", 1_030]]);
});

test("a lost node that another one replaced is not shown any more", () => {
  const model = new ClusterModel();
  model.list([facts("a"), facts("b")], 1_000);
  model.hearMetrics(report("a"), 1_020);
  model.hearAlert(lostAlert("b"));
  assert.deepEqual(states(model, 1_020), { a: "up", b: "lost" });
  model.hearAlert(lostAlert("b", { state: "end", until: 1_021 }));
  assert.deepEqual(states(model, 1_021), { a: "up" });
});

test("a node that said goodbye has stopped, and is forgotten after five minutes", () => {
  const model = new ClusterModel();
  model.list([facts("a")], 1_000);
  model.hearHealth({ reported_by: "a", node_id: "a", status: "stopped", checks: {}, version: "1", alerts: [] }, 1_001);
  model.hearMetrics(report("b"), 1_200);
  assert.deepEqual(states(model, 1_200), { a: "stopped", b: "up" });
  model.hearMetrics(report("b"), 1_302);
  assert.deepEqual(states(model, 1_302), { b: "up" });
});

test("where nobody tells anything it is the page that does not hear: no node is lost by that", () => {
  const model = new ClusterModel();
  model.list([facts("a"), facts("b")], 1_000);
  model.hearMetrics(report("a"), 1_002);
  assert.equal(model.isQuiet(1_008), false);
  assert.equal(model.isQuiet(1_009), true);
  assert.deepEqual(states(model, 2_000), { a: "up", b: "up" });
  model.hearHealth({ reported_by: "a", node_id: "a", status: "healthy", checks: {}, version: "1", alerts: [] }, 2_000);
  assert.equal(model.isQuiet(2_001), false);
  assert.deepEqual(states(model, 2_001), { a: "up", b: "lost" });
});

test("while its own node is without Redis the page does not see the others, and takes none for lost", () => {
  const model = new ClusterModel();
  model.list([facts("a"), facts("b")], 1_000);
  for (let now = 1_002; now <= 1_060; now += 2) model.hearMetrics(report("a", { bus: "refused" }), now);
  assert.deepEqual(states(model, 1_061), { a: "up", b: "unseen" });
  const { up, lost, unseen, total } = model.sums(1_061);
  assert.deepEqual([up, lost, unseen, total], [1, 0, 1, 2]);
  model.hearMetrics(report("a"), 1_062);
  assert.deepEqual(states(model, 1_062), { a: "up", b: "unseen" }); // it has a moment to show itself
  model.hearMetrics(report("b"), 1_063);
  assert.deepEqual(states(model, 1_063), { a: "up", b: "up" });
  model.hearMetrics(report("a"), 1_074);
  assert.deepEqual(states(model, 1_074), { a: "up", b: "lost" });
});

test("the numbers of a node are those of all seconds that it told of", () => {
  const model = new ClusterModel();
  const second = (published, delay) => ({ messages_per_second: published, deliveries_per_second: 0, cpu_percent: 1, loop_lag_ms: delay });
  model.hearMetrics(report("a", { messages_per_second: 0, samples: [second(40, 9), second(0, 2)] }), 1_000);
  const [node] = model.nodes(1_000);
  assert.deepEqual([node.messages_per_second, node.loop_lag_ms], [20, 9]);
  assert.equal(model.sums(1_000).published, 20);
});

test("what does not work on a node is said", () => {
  const model = new ClusterModel();
  model.hearMetrics(report("a", { bus: "no answer" }), 1_000);
  assert.equal(model.nodes(1_000)[0].problem, "bus: no answer");
  model.hearMetrics(report("a"), 1_002);
  assert.equal(model.nodes(1_002)[0].problem, "");
});

test("only what has a report's shape is one", () => {
  assert.equal(isReport("cluster:metrics", report("a")), true);
  assert.equal(isReport("cluster:alerts", lostAlert("b")), true);
  for (const value of [null, "text", [1], { reported_by: "a" }, { reported_by: 3, samples: [], node_id: "a" }, { text: "hello" }]) {
    for (const channel of ["cluster:metrics", "cluster:health", "cluster:alerts"]) {
      assert.equal(isReport(channel, value), false);
    }
  }
});

test("trends are means of ten seconds, minutes fill what is older", () => {
  const trends = new Trends();
  const seconds = [[10_000, 2, 2], [10_001, 4, 9], [10_010, 6, 6]];
  trends.load({ step: 1, nodes: [{ node_id: "a", metrics: { cpu_percent: seconds } }] });
  trends.load({ step: 60, nodes: [{ node_id: "a", metrics: { cpu_percent: [[9_000, 1, 3], [9_970, 99, 99]] } }] });
  const points = trends.of("cpu_percent", 10_020).get("a");
  assert.deepEqual(points, [
    { at: 9_035, value: 1, high: 3 },
    { at: 10_005, value: 3, high: 9 },
    { at: 10_015, value: 6, high: 6 },
  ]);
});

test("a report adds its samples, and what is older than an hour is forgotten", () => {
  const trends = new Trends();
  trends.hear({ node_id: "a", samples: [{ timestamp: 10_000, cpu_percent: 2, commit_ms: null }] });
  trends.hear({ node_id: "a", samples: [{ timestamp: 10_002, cpu_percent: 4, commit_ms: null }] });
  assert.deepEqual(trends.of("cpu_percent", 10_002).get("a"), [{ at: 10_005, value: 3, high: 4 }]);
  assert.equal(trends.of("commit_ms", 10_002).size, 0);
  assert.equal(trends.of("cpu_percent", 14_000).size, 0);
});
