import assert from "node:assert/strict";
import { test } from "node:test";

import { Diagnosis } from "../../src/python_pubsub_server/web/static/websocket-test/diagnosis.js";

function after(...facts) {
  const diagnosis = new Diagnosis();
  for (const fact of facts) diagnosis.add(fact);
  return {
    states: Object.fromEntries(diagnosis.checks.map(({ name, state }) => [name, state])),
    hints: diagnosis.hints.map(({ name }) => name),
    diagnosis,
  };
}

const handshake = { kind: "request", method: "GET", isHandshake: true, status: 200, ms: 4, server: "nginx", via: "" };
const poll = { ...handshake, isHandshake: false };

test("nothing is said of what was not tried", () => {
  const { states, hints } = after();
  assert.deepEqual(new Set(Object.values(states)), new Set(["unknown"]));
  assert.deepEqual(hints, []);
});

test("what works is good, and needs no hint", () => {
  const facts = [handshake, { kind: "websocket", state: "open", ms: 3 }, { kind: "upgrade", isDone: true, ms: 9 }];
  const { states, hints } = after(...facts, { kind: "stream", isDone: true, ms: 5 });
  assert.deepEqual(states, { http: "good", polling: "good", websocket: "good", upgrade: "good", stream: "good", idle: "unknown" });
  assert.deepEqual(hints, []);
});

for (const [name, fact] of Object.entries({
  upgrade: { kind: "upgrade", isDone: false, ms: 9, reason: "closed (1006)" },
  away: { ...handshake, status: 502, error: "HTTP 502" },
  path: { ...handshake, status: 404, error: "HTTP 404" },
  sticky: { ...poll, status: 400, error: "Invalid session" },
  size: { ...poll, method: "POST", status: 413, error: "HTTP 413" },
  timeout: { ...poll, status: 504, error: "HTTP 504", ms: 20_000 },
  buffering: { kind: "stream", isDone: false, error: "no bytes in 4 s" },
  refused: { kind: "refused", code: "forbidden", message: "no" },
})) {
  test(`a hint is given: ${name}`, () => {
    const { hints, diagnosis } = after(fact);
    assert.deepEqual(hints, [name]);
    assert.equal(diagnosis.hints[0].text.length > 30, true);
  });
}

test("a WebSocket that is cut off while it is silent met a time limit", () => {
  const cut = { kind: "websocket", state: "closed", code: 1006, wasClean: false, lived: 31_000, idle: 20_000 };
  const { hints, states, diagnosis } = after(cut);
  assert.deepEqual(hints, ["timeout"]);
  assert.equal(states.idle, "bad");
  assert.equal(diagnosis.hints[0].values.idle, 20);
  assert.deepEqual(after({ ...cut, idle: 100 }).hints, ["cut"]);
  assert.deepEqual(after({ ...cut, code: 1001, wasClean: true }).hints, []);
});

test("a hint goes when the same way works", () => {
  assert.deepEqual(after({ ...handshake, status: 502, error: "HTTP 502" }, handshake).hints, []);
  assert.deepEqual(after({ kind: "upgrade", isDone: false, ms: 1, reason: "x" }, { kind: "websocket", state: "open", ms: 1 }).hints, []);
  assert.deepEqual(after({ kind: "refused", code: "x", message: "y" }, { kind: "connected", ms: 1 }).hints, []);
});

test("the longest silence that a connection lived through is told", () => {
  const { states, diagnosis } = after({ kind: "frame", silent: 200 }, { kind: "frame", silent: 24_900 }, { kind: "frame", silent: 3_000 });
  assert.equal(states.idle, "good");
  assert.equal(diagnosis.checks.at(-1).values.seconds, 24.9);
});
