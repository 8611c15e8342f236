import assert from "node:assert/strict";
import { test } from "node:test";

import { covers, Inbox } from "../../src/python_pubsub_server/web/static/client/inbox.js";
import { message } from "./fake-server.mjs";

const report = (epoch, ...topics) => ({ epoch, topics });
const row = (topic, sequence, replayed = 0) => ({ topic, sequence, replayed, recovered: true });

test("patterns cover as on the server", () => {
  assert.ok(covers("*", "a") && !covers("*", "$sys"));
  assert.ok(covers("host:*", "host:1") && !covers("host:*", "hos"));
  assert.ok(covers("a", "a") && !covers("a", "ab"));
});

test("each sequence of a topic passes once, each topic by itself", () => {
  const inbox = new Inbox();
  const passed = [1, 2, 2, 1, 3].filter((sequence) => inbox.accepts(message("a", sequence)));
  assert.deepEqual(passed, [1, 2, 3]);
  assert.ok(inbox.accepts(message("b", 1)));
});

test("a quiet topic resumes where its subscription began, before what is still to come", () => {
  const inbox = new Inbox();
  const pattern = { ...row("h:*", 9), topics: [row("h:1", 2), row("h:2", 9)] };
  inbox.confirm(report("e", row("a", 50, 10), pattern, row("empty:*", 0)));
  assert.deepEqual(inbox.positions(["a", "h:*", "empty:*"]), { a: 40, "h:1": 2, "h:2": 9 });
  inbox.accepts(message("a", 41));
  inbox.accepts(message("h:1", 3));
  assert.deepEqual(inbox.positions(["a"]), { a: 41 });
  assert.deepEqual(inbox.positions(["h:*"]), { "h:1": 3, "h:2": 9 });
});

test("in a new log sequences start over", () => {
  const inbox = new Inbox();
  inbox.confirm(report("old", row("a", 0)));
  inbox.accepts(message("a", 2));
  inbox.confirm(report("old", row("a", 2)));
  assert.ok(!inbox.accepts(message("a", 1)));
  inbox.confirm(report("new", row("b", 0)));
  assert.deepEqual(inbox.positions(["a"]), {});
  assert.ok(inbox.accepts(message("a", 1)));
});

test("what no subscription covers any more is forgotten", () => {
  const inbox = new Inbox();
  for (const topic of ["h:1", "h:2", "a"]) inbox.accepts(message(topic, 5));
  inbox.forget(["h:*", "a"], ["h:1"]);
  assert.deepEqual(inbox.positions(["*"]), { "h:1": 5 });
});
