import assert from "node:assert/strict";
import { test } from "node:test";

import { delayOf, Model } from "../../src/python_pubsub_server/web/static/graph/model.js";

const all = () => true;
const publish = (source, target, rate = 1) => ({ source, target, type: "publish", count: 1, rate });
const consume = (source, target, more = {}) => ({
  ...{ source, target, type: "consume", count: 1, rate: 0, lag: null, live: true },
  ...more,
});

test("nodes stay the same ones, and keep their places while they are hidden", () => {
  const model = new Model();
  const state = { links: [publish("shop", "orders"), publish("web-1", "requests")] };
  assert.ok(model.update(state, all));
  const orders = model.node("topic", "orders");
  orders.x = 7;
  assert.ok(!model.update(state, all));
  assert.ok(model.update(state, (topic) => topic === "requests"));
  assert.equal(model.node("topic", "orders"), undefined);
  assert.ok(model.knows("publish", "shop", "orders") && !model.knows("publish", "shop", "requests"));
  model.update(state, all);
  assert.equal(model.node("topic", "orders"), orders);
  assert.equal(orders.x, 7);
});

test("an edge flows, is silent, or its consumer is away", () => {
  const model = new Model();
  model.update(
    {
      links: [
        publish("shop", "orders", 4),
        publish("backup", "jobs", 0),
        consume("orders", "here"),
        consume("jobs", "here"),
        consume("orders", "gone", { live: false }),
      ],
    },
    all,
  );
  const states = [...model.edges.values()].map(({ state }) => state);
  assert.deepEqual(states, ["flowing", "silent", "flowing", "silent", "away"]);
  assert.equal(model.edge("consume", "here", "orders").flow, 4);
});

test("a delay is judged beside what comes", () => {
  assert.equal(delayOf({ lag: null, flow: 100 }), "none");
  assert.equal(delayOf({ lag: 9, flow: 0 }), "none");
  assert.equal(delayOf({ lag: 10, flow: 0 }), "slow");
  assert.equal(delayOf({ lag: 100, flow: 0 }), "late");
  assert.equal(delayOf({ lag: 250, flow: 100 }), "none");
  assert.equal(delayOf({ lag: 300, flow: 100 }), "slow");
  assert.equal(delayOf({ lag: 3_000, flow: 100 }), "late");
});
