import assert from "node:assert/strict";
import { test } from "node:test";

import {
  jsonProblem,
  nameProblem,
  subscriptionProblem,
  topicProblem,
} from "../../src/python_pubsub_server/web/static/page/rules.js";

const server = process.env.PUBSUB_URL;

async function refuses(topic, message) {
  const body = `{"topic": ${JSON.stringify(topic)}, "message_id": "1", "message": ${message}, "producer": "p"}`;
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(`${server}/publish`, { method: "POST", headers, body });
  return answer.status === 400;
}

const TOPICS = [
  "orders", "a b", "Zoë/日本", "x".repeat(200), "𝒳".repeat(200), "a$", " ", "x".repeat(201), "𝒳".repeat(201),
  "a*", "a*b", "$mine", "$", "a\nb", "a\u0000", "a\u007f", "a\u009f", "a\u00a0b", "a\u2028b",
];
const nested = (depth) => "[".repeat(depth) + "]".repeat(depth);
const MESSAGES = [
  "1", '{"a": 1, "b": {"a": 2}}', '[{"a": 1}, {"a": 1}]', '{"a": "a", "b": "a"}', '{"a": ["x", "x"], "x": 1}',
  '{"a": 1, "a": 2}', '{"a": {"b": 1, "\\u0062": 2}}', '{"a": [{}], "b": 2, "a": 3}', '["\\ud800"]', '["\\ud83d\\ude00"]',
  '{"\\udc00": 1}', "1e400", "-1e400", "1e308", "123456789012345678901234567890", "9".repeat(4_300), "9".repeat(4_301),
  nested(256), nested(257), '"{\\"a\\": 1, \\"a\\": 2}"', '{"": 1, "": 2}', '{"__proto__": 1, "__proto__": 2}',
];

test("what the page refuses, and only that, the server refuses too", async () => {
  for (const topic of TOPICS) {
    assert.equal(Boolean(topicProblem(topic)), await refuses(topic, "1"), JSON.stringify(topic));
  }
  for (const message of MESSAGES) {
    assert.equal(Boolean(jsonProblem(message)), await refuses("rules", message), message.slice(0, 60));
  }
});

test("patterns have their * at the end", () => {
  assert.equal(subscriptionProblem("host:*"), null);
  assert.equal(subscriptionProblem("*"), null);
  assert.equal(subscriptionProblem("$own"), null);
  assert.deepEqual(subscriptionProblem("a*b").values, { topic: "a*b" });
  assert.ok(subscriptionProblem("x".repeat(201)));
  assert.equal(nameProblem("a*b"), null);
});
