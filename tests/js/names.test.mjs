import assert from "node:assert/strict";
import { test } from "node:test";

import { crosses, turned } from "../../src/python_pubsub_server/web/static/graph/ground.js";
import { chosenNames, corners, shortened } from "../../src/python_pubsub_server/web/static/graph/names.js";

const view = { scale: 1, x: 0, y: 0, width: 400, height: 200, nameSize: 10 };
const node = (name, x, y, flow = 1) => ({ id: `topic ${name}`, name, x, y, edges: [{ flow }] });
const choose = (nodes, more = {}) =>
  chosenNames(nodes, {
    view,
    spots: () => [{ anchor: "middle", side: 1 }],
    width: (text) => 0.6 * text.length,
    first: () => 0,
    before: new Map(),
    ...more,
  });
const texts = (chosen) => Object.fromEntries([...chosen].map(([id, { text }]) => [id.slice(6), text]));

test("boxes that are turned overlap only where they do", () => {
  const box = (x, y, angle) =>
    [[-50, -5], [50, -5], [50, 5], [-50, 5]].map(([across, down]) => turned(x, y, across, down, angle));
  assert.ok(crosses(box(0, 0, 0), box(40, 0, 90)));
  assert.ok(!crosses(box(0, 0, 45), box(30, 0, 45))); // side by side, though their surroundings overlap
  assert.ok(!crosses(box(0, 0, 0), box(0, 10, 0))); // they touch
});

test("a shortened name keeps its start and its end", () => {
  assert.equal(shortened("orders", 8), "orders");
  assert.equal(shortened("sensors:hall:temperature", 13), "sensors:…ture");
  assert.equal([...shortened("🌱".repeat(20), 8)].length, 8);
});

test("of names that have no room beside each other the busiest is drawn, others shorter or not", () => {
  const far = node("alone", 350, 50);
  const nodes = [node("quiet-and-long-name", 100, 50), node("busy-and-long-name", 130, 50, 100), far];
  assert.deepEqual(texts(choose(nodes)), { "busy-and-long-name": "busy-and-long-name", alone: "alone" });
  nodes[0].x = 50;
  assert.deepEqual(texts(choose(nodes))["quiet-and-long-name"], "quiet…me");
});

test("a name does not lie on another node, nor outside", () => {
  const spots = () => [{ anchor: "middle", side: 1 }, { anchor: "start" }];
  const chosen = choose([node("orders", 100, 50), node("below", 100, 70)], { spots });
  assert.equal(chosen.get("topic orders").spot.anchor, "start");
  assert.equal(choose([node("at-the-edge", 399, 199)]).size, 0);
});

test("a name that is asked for is drawn, and the others give way", () => {
  const nodes = [node("quiet", 100, 50), node("busy", 110, 50, 100)];
  assert.deepEqual(texts(choose(nodes)), { busy: "busy" });
  const asked = choose(nodes, { first: ({ name }) => (name === "quiet" ? 2 : 0) });
  assert.deepEqual(texts(asked), { quiet: "quiet" });
  assert.equal(choose(nodes, { first: () => -1 }).size, 0);
});

test("equals do not take turns", () => {
  const nodes = [node("a-name", 100, 50), node("b-name", 115, 50)];
  assert.deepEqual(texts(choose(nodes)), { "a-name": "a-name" });
  const before = new Map([["topic b-name", {}]]);
  assert.deepEqual(texts(choose(nodes, { before })), { "b-name": "b-name" });
});

test("a name's box stands beside its node", () => {
  const [topLeft, , bottomRight] = corners({ x: 100, y: 50 }, { anchor: "end" }, 60, 10, 1);
  assert.deepEqual([topLeft.x, bottomRight.x], [27, 87]);
  assert.ok(topLeft.y < 50 && bottomRight.y > 50);
});
