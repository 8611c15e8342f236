/** The client against the real server, whose address is in PUBSUB_URL. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";

import { PubSubClient } from "../../src/python_pubsub_server/web/static/pubsub-client.js";
import { isConnected, isReconnecting, next } from "./fake-server.mjs";

const url = process.env.PUBSUB_URL;
const options = { skip: url ? false : "PUBSUB_URL is not set; pytest sets it" };
const collected = (client) => {
  const messages = [];
  client.on("message", (message) => messages.push(message));
  return messages;
};

function open(t, more = {}) {
  const client = new PubSubClient(url, { WebSocket, consumer: "c", random: () => 0, ...more });
  t.after(() => client.close());
  return client;
}

const publication = (topic, message) => ({ topic, message, producer: "node" });

test("publish, receive, confirm", options, async (t) => {
  const client = open(t);
  const { epoch } = await client.subscribe("js-basic");
  assert.match(epoch, /^[0-9a-f-]{36}$/);
  const arrived = next(client, "message");
  const { sequence } = await client.publish(publication("js-basic", { text: "é", list: [null] }));
  const message = await arrived;
  assert.equal(message.sequence, sequence);
  assert.deepEqual(message.message, { text: "é", list: [null] });
  assert.equal((await client.consumed(message)).status, "ok");
  await assert.rejects(client.publish(publication("no*", 1)), { code: "invalid" });
});

test("a publish repeated under its id is stored once", options, async (t) => {
  const client = open(t);
  const again = { ...publication("js-again", 1), message_id: "same" };
  const first = await client.publish(again);
  const second = await client.publish(again);
  assert.deepEqual([second.sequence, second.duplicate], [first.sequence, true]);
});

test("a reconnect brings what was missed, in order, once", options, async (t) => {
  class Cuttable extends WebSocket {
    constructor(...values) {
      super(...values);
      Cuttable.last = this;
    }
  }
  const later = { base: 1e6, max: 1e6 }; // it comes back when told to
  const client = open(t, { WebSocket: Cuttable, backoff: later, random: () => 1 });
  const other = open(t);
  const messages = collected(client);
  await client.subscribe(["js-away", "js-away-host:*"]);
  const before = next(client, "message");
  await other.publish(publication("js-away", 1));
  await before;
  client.on("unrecovered", (lost) => assert.fail(JSON.stringify(lost)));
  const last = next(client, "message", (m) => m.message === "last");
  const away = next(client, "state", isReconnecting);
  Cuttable.last.terminate();
  await away;
  for (const n of [2, 3]) await other.publish(publication("js-away", n));
  await other.publish(publication("js-away-host:new", "from a topic that is new"));
  const back = next(client, "state", isConnected);
  client.reconnect();
  await back;
  await other.publish(publication("js-away", 4));
  await other.publish(publication("js-away-host:new", "last"));
  await last;
  const of = (topic) => messages.filter((m) => m.topic === topic).map((m) => m.message);
  assert.deepEqual(of("js-away"), [1, 2, 3, 4]);
  assert.deepEqual(of("js-away-host:new"), ["from a topic that is new", "last"]);
});

test("history is replayed from wherever it is asked for", options, async (t) => {
  const writer = open(t, { consumer: "js-reader" });
  await writer.subscribe("js-history"); // "consumed" counts from a consumer's first subscription
  for (const n of [1, 2, 3]) await writer.publish(publication("js-history", n));
  const read = async (after) => {
    const client = open(t, { consumer: "js-reader" });
    const messages = collected(client);
    const arrived = next(client, "message", (m) => m.message === 3);
    const report = await client.subscribe("js-history", { after });
    await arrived;
    assert.equal(report.topics[0].replayed, messages.length);
    assert.ok(messages.every((m) => m.replayed));
    await client.consumed(messages[0]);
    return messages.map((m) => m.message);
  };
  assert.deepEqual(await read(1), [2, 3]);
  assert.deepEqual(await read("beginning"), [1, 2, 3]);
  assert.deepEqual(await read("consumed"), [3]);
});

test("a position of another log is said to be lost", options, async (t) => {
  const client = open(t);
  const unrecovered = next(client, "unrecovered");
  await client.publish(publication("js-epoch", 1));
  await client.subscribe("js-epoch", { after: 12, epoch: "11111111-2222-4333-8444-555555555555" });
  assert.equal((await unrecovered).topic, "js-epoch");
});

test("another client goes on where one stands, new topics of a pattern included", options, async (t) => {
  const one = open(t);
  const first = next(one, "message");
  await one.subscribe(["js-place", "js-place-host:*"]);
  await one.publish(publication("js-place", 1));
  await first;
  const { topics, place } = one;
  one.close();
  const publisher = open(t);
  await publisher.publish(publication("js-place", 2));
  await publisher.publish(publication("js-place-host:new", 3));
  const other = open(t);
  const messages = collected(other);
  await other.subscribe(topics, place);
  assert.deepEqual(messages.map(({ message }) => message).sort(), [2, 3]);
});
