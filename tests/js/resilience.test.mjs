/** The client against servers that crash, tokens that end and networks that are bad. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";

import { PubSubClient } from "../../src/python_pubsub_server/web/static/pubsub-client.js";
import { isConnected, isReconnecting, next } from "./fake-server.mjs";
import { Network, OwnServer, tokenOf } from "./own-server.mjs";

const options = { skip: process.env.SERVER_PYTHON ? false : "SERVER_PYTHON is not set; pytest sets it" };

function open(t, url, more = {}) {
  const client = new PubSubClient(url, {
    WebSocket,
    producer: "node",
    random: () => 0.01,
    ...more,
  });
  t.after(() => client.close());
  return client;
}

const numbers = (from, to) => Array.from({ length: to - from }, (_, index) => from + index);

/** Collects a channel's messages, and waits until there are so many. */
function collect(channel) {
  const got = [];
  const waiting = new Set();
  channel.on("message", ({ message }) => {
    got.push(message);
    for (const each of waiting) if (got.length >= each.count) each.resolve(got);
  });
  got.reach = (count) =>
    new Promise((resolve) => {
      if (got.length >= count) resolve(got);
      else waiting.add({ count, resolve });
    });
  return got;
}

test("crashes lose nothing, repeat nothing and keep the order", options, async (t) => {
  const server = await OwnServer.start(t);
  const reader = open(t, server.url);
  const writer = open(t, server.url);
  const channel = reader.channel("crashes");
  const got = collect(channel);
  await channel.subscribed;
  const publishing = numbers(0, 200).map((n) => writer.publish({ topic: "crashes", message: n }));
  await got.reach(20);
  await server.kill();
  publishing.push(...numbers(200, 300).map((n) => writer.publish({ topic: "crashes", message: n })));
  await server.start();
  await got.reach(250);
  await server.kill();
  await server.start();
  const receipts = await Promise.all(publishing);
  await got.reach(300);
  assert.deepEqual([...got], numbers(0, 300));
  assert.deepEqual(receipts.map(({ sequence }) => sequence), numbers(1, 301));
});

test("what is published without a connection waits for one, and is sent once", options, async (t) => {
  const server = await OwnServer.start(t);
  const client = open(t, server.url, { queueLimit: 3 });
  await next(client, "state", isConnected);
  const away = next(client, "state", isReconnecting);
  await server.kill();
  await away;
  const waiting = numbers(0, 3).map((n) => client.publish({ topic: "offline", message: n }));
  await assert.rejects(client.publish({ topic: "offline", message: 3 }), { code: "queue_full" });
  await server.start();
  const receipts = await Promise.all(waiting);
  assert.deepEqual(receipts.map(({ sequence, duplicate }) => [sequence, duplicate]), [
    [1, false],
    [2, false],
    [3, false],
  ]);
});

test("a connection outlives its tokens", options, async (t) => {
  const server = await OwnServer.start(t, { hasTokens: true });
  let given = 0;
  let enough;
  const hasEnough = new Promise((resolve) => (enough = resolve));
  const token = async () => {
    given += 1;
    if (given === 3) enough(); // beyond the end of the first
    return tokenOf("ann", 4);
  };
  const client = open(t, server.url, { token });
  await client.channel("suggestions:votes").subscribed;
  const off = client.on("state", (state) => assert.fail(JSON.stringify(state)));
  await hasEnough;
  assert.equal((await client.request("presence", { topic: "suggestions:votes" })).status, "ok");
  off();
});

test("an expired token is told, and the next connection has a new one", options, async (t) => {
  const server = await OwnServer.start(t, { hasTokens: true });
  let given = 0;
  // The first one says nothing of its end that a client could read in time.
  const token = () => (given++ ? tokenOf("ann", 600) : tokenOf("ann", 2, { iat: 0 }));
  const late = { wallClock: () => 0 };
  const client = open(t, server.url, { token, ...late });
  const error = await next(client, "error");
  assert.equal(error.code, "token_expired");
  await next(client, "state", isConnected);
  assert.equal(given, 2);
  await client.channel("notifications:ann").subscribed;
});

test("a token that cannot be renewed ends the client", options, async (t) => {
  const server = await OwnServer.start(t, { hasTokens: true });
  const client = open(t, server.url, { token: tokenOf("ann", -60) });
  const closed = next(client, "state", ({ name }) => name === "closed");
  assert.equal((await next(client, "error")).code, "unauthenticated");
  assert.equal((await closed).error.code, "unauthenticated");
});

test("a token is replaced by hand while the connection lives on", options, async (t) => {
  const server = await OwnServer.start(t, { hasTokens: true });
  const rights = { pubsub: { publish: ["orders"], subscribe: ["orders"] } };
  const client = open(t, server.url, { token: tokenOf("ann", 60), producer: "ann" });
  await assert.rejects(client.publish({ topic: "orders", message: 1 }), { code: "forbidden" });
  await client.refresh(tokenOf("ann", 60, rights));
  assert.equal((await client.publish({ topic: "orders", message: 1 })).sequence, 1);
  await client.refresh(tokenOf("bob", 60, rights)).catch(({ code }) => assert.equal(code, "forbidden"));
  await next(client, "state", isConnected);
  await assert.rejects(client.publish({ topic: "orders", message: 1 }), { code: "forbidden" });
  await client.publish({ topic: "orders", message: 1, producer: "bob" });
});

test("a slow network delays and loses nothing", options, async (t) => {
  const server = await OwnServer.start(t);
  const network = await Network.to(t, server);
  network.delay = 100;
  const writer = open(t, server.url);
  const reader = open(t, network.url);
  const channel = reader.channel("slow");
  const got = collect(channel);
  await channel.subscribed;
  const sent = numbers(0, 100).map((n) => writer.publish({ topic: "slow", message: n }));
  await got.reach(10);
  network.cut(); // with answers and messages on the way
  await Promise.all(sent);
  sent.push(...numbers(100, 110).map((n) => reader.publish({ topic: "slow", message: n })));
  await Promise.all(sent);
  await got.reach(110);
  assert.deepEqual([...got], numbers(0, 110));
});

test("a publish whose answer is lost on the way is stored once", options, async (t) => {
  const server = await OwnServer.start(t);
  const network = await Network.to(t, server);
  const watcher = open(t, server.url).channel("answers");
  const got = collect(watcher);
  await watcher.subscribed;
  const client = open(t, network.url);
  await client.publish({ topic: "answers", message: "first" });
  network.isMute = true;
  const second = client.publish({ topic: "answers", message: "second" });
  await got.reach(2);
  network.isMute = false;
  network.cut();
  const { sequence, duplicate } = await second;
  assert.deepEqual([sequence, duplicate], [2, true]);
});
