import assert from "node:assert/strict";
import { test } from "node:test";

import { gist } from "../../src/python_pubsub_server/web/static/panel/gist.js";

test("an alert is told by its sentence, anything else by its name", () => {
  const facts = "kind=loop_lag subject=node-1 text=The event loop of node-1 is 120 ms late";
  assert.equal(gist({ event: "alert_begin", text: facts }), "The event loop of node-1 is 120 ms late");
  assert.equal(gist({ event: "closed_as_slow", text: "connection=a1 context=b" }), "closed_as_slow");
});
