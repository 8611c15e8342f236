import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import { PollingSocket, pollingUrl } from "../../src/python_pubsub_server/web/static/client/polling.js";
import { UpgradingSocket } from "../../src/python_pubsub_server/web/static/client/upgrading.js";
import { PubSubClient } from "../../src/python_pubsub_server/web/static/pubsub-client.js";
import WebSocket from "ws";

const URL_ = process.env.PUBSUB_URL;

/** The whole client over a transport: what is published comes back, in order. */
async function talk(t, Transport, topic) {
  const client = new PubSubClient(URL_, { consumer: `c-${topic}`, WebSocket: Transport });
  t.after(() => client.close());
  const heard = [];
  const all = new Promise((resolve) => {
    client.on("message", ({ message }) => heard.push(message) === 50 && resolve());
  });
  await client.subscribe(topic);
  const numbers = Array.from({ length: 50 }, (_, number) => number);
  await Promise.all(numbers.map((message) => client.publish({ topic, message, producer: "p" })));
  await all;
  assert.deepEqual(heard, numbers);
}

test("a client works over polling alone", async (t) => {
  const requests = [];
  await talk(t, function Polling(url) {
    return new PollingSocket(url, { onRequest: (request) => requests.push(request) });
  }, "polling");
  assert.ok(requests.some(({ isHandshake, status }) => isHandshake && status === 200));
  assert.ok(requests.some(({ method }) => method === "POST"));
});

test("a client works while its connection changes from polling to a WebSocket", async (t) => {
  let upgraded;
  const isUpgraded = new Promise((resolve) => (upgraded = resolve));
  let socket;
  await talk(t, function Upgrading(url) {
    socket = new UpgradingSocket(url, { WebSocket, onUpgrade: upgraded });
    return socket;
  }, "upgrading");
  assert.equal((await isUpgraded).isDone, true);
  assert.equal(socket.transport, "websocket");
});

test("where no WebSocket opens it goes on polling", async (t) => {
  class Broken {
    constructor() {
      setTimeout(() => this.onclose({ code: 1006 }), 1);
    }
    close() {}
  }
  const steps = [];
  await talk(t, function Upgrading(url) {
    return new UpgradingSocket(url, { WebSocket: Broken, onUpgrade: (step) => steps.push(step) });
  }, "staying");
  assert.equal(steps.length, 1);
  assert.equal(steps[0].isDone, false);
  assert.match(steps[0].reason, /1006/);
});

test("what answers with anything else ends it, and says why", async (t) => {
  const answers = [
    [502, "text/html", "<h1>Bad Gateway</h1>", /HTTP 502/],
    [400, "application/json", '"Invalid session"', /Invalid session/],
    [200, "text/html", "<html>Welcome</html>", /not Engine.IO/],
  ];
  for (const [status, type, body, reason] of answers) {
    const server = createServer((_, response) => response.writeHead(status, { "Content-Type": type }).end(body));
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => server.close());
    const requests = [];
    const socket = new PollingSocket(`ws://127.0.0.1:${server.address().port}/socket.io/?EIO=4`, {
      onRequest: (request) => requests.push(request),
    });
    const closed = await new Promise((resolve) => (socket.onclose = resolve));
    assert.match(closed.reason, reason);
    assert.equal(requests[0].status, status);
    server.closeAllConnections();
  }
});

test("the address of polling is that of the endpoint", () => {
  const url = pollingUrl("wss://example.org/a/socket.io/?EIO=4&transport=websocket&user=ada");
  assert.equal(url.href, "https://example.org/a/socket.io/?EIO=4&transport=polling&user=ada");
});
