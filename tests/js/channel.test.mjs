import assert from "node:assert/strict";
import { test } from "node:test";

import { confirmed, connect, FakeServer, isConnected, message, next } from "./fake-server.mjs";

async function connected(t, options) {
  const server = await FakeServer.start(t);
  const client = await connect(t, server, { consumer: "c", ...options });
  await next(client, "state", isConnected);
  return { server, client };
}

const forbidden = () => ({ status: "error", code: "forbidden", message: "not yours" });

test("a channel is subscribed and hears what is its own", async (t) => {
  const { server, client } = await connected(t);
  const bell = client.channel("notifications:42", { after: "consumed" });
  assert.equal(client.channel("notifications:42"), bell);
  const report = await bell.subscribed;
  assert.equal(report.topics[0].topic, "notifications:42");
  assert.equal((await server.request("subscribe")).value.after, "consumed");
  const heard = [];
  bell.on("notification", ({ id }, { sequence }) => heard.push([id, sequence]));
  const last = next(bell, "notification", ({ id }) => id === 3);
  const say = (user, id, sequence) =>
    server.emit("notification", message(`notifications:${user}`, sequence, { message: { id } }));
  say(7, 1, 1);
  say(42, 2, 1);
  say(42, 2, 1);
  say(42, 3, 2);
  await last;
  assert.deepEqual(heard, [[2, 1], [3, 2]]);
});

test("a pattern's channel hears each of its topics, the exact one its own", async (t) => {
  const { server, client } = await connected(t);
  const all = [];
  const one = [];
  client.channel("resource:updates:*").on("resource:update", ({ n }, { topic }) => all.push([topic.at(-1), n]));
  const exact = client.channel("resource:updates:b");
  exact.on("resource:update", ({ n }) => one.push(n));
  await exact.subscribed;
  const last = next(client, "resource:update", ({ n }) => n === 3);
  for (const [id, n] of [["a", 1], ["b", 2], ["c", 3]]) {
    server.emit("resource:update", message(`resource:updates:${id}`, 1, { message: { n } }));
  }
  await last;
  assert.deepEqual([all, one], [[["a", 1], ["b", 2], ["c", 3]], [2]]);
});

test("what another program says has no place in the topic and always comes", async (t) => {
  const { server, client } = await connected(t);
  const scores = [];
  const whole = [];
  client.on("received", ({ message: { score } }, event) => whole.push([event, score]));
  const channel = client.channel("suggestions:votes");
  channel.on("suggestion:vote", ({ score }) => scores.push(score));
  await channel.subscribed;
  const last = next(client, "suggestion:vote", ({ score }) => score === 2);
  for (const score of [1, 1, 2]) {
    const said = { topic: "suggestions:votes", message: { score }, message_id: null, producer: null };
    server.emit("suggestion:vote", { ...said, sequence: null, timestamp: 1 });
  }
  await last;
  await client.unsubscribe();
  assert.deepEqual(scores, [1, 1, 2]);
  assert.deepEqual(whole, [1, 1, 2].map((score) => ["suggestion:vote", score]));
});

test("a listener that was taken off hears no more", async (t) => {
  const { server, client } = await connected(t);
  const channel = client.channel("a");
  const heard = [];
  const listener = (value) => heard.push(value.sequence);
  channel.on("message", listener);
  channel.on("message", () => heard.push("other"));
  await channel.subscribed;
  const first = next(client, "message");
  server.emit("message", message("a", 1));
  await first;
  channel.off("message", listener);
  const second = next(client, "message");
  server.emit("message", message("a", 2));
  await second;
  channel.off("message");
  const third = next(client, "message");
  server.emit("message", message("a", 3));
  await third;
  assert.deepEqual(heard, [1, "other", "other"]);
});

test("a channel that is left is silent, and may be asked for again", async (t) => {
  const { server, client } = await connected(t);
  const channel = client.channel("a");
  await channel.subscribed;
  channel.on("message", () => assert.fail("it was left"));
  await channel.unsubscribe();
  assert.deepEqual((await server.request("unsubscribe")).value, { topics: ["a"] });
  const again = client.channel("a");
  assert.notEqual(again, channel);
  const arrived = next(again, "message");
  await again.subscribed;
  server.emit("message", message("a", 1));
  await arrived;
});

test("a refused channel says so and may be asked for again", async (t) => {
  const { server, client } = await connected(t);
  server.answers.subscribe = forbidden;
  const channel = client.channel("notifications:7");
  const told = next(channel, "error");
  await assert.rejects(channel.subscribed, { code: "forbidden" });
  assert.equal((await told).message, "not yours");
  server.answers.subscribe = confirmed;
  await client.channel("notifications:7").subscribed;
});

test("a channel hears that it is refused at a reconnect, and what was lost", async (t) => {
  const { server, client } = await connected(t);
  const channel = client.channel("a");
  await channel.subscribed;
  server.answers.subscribe = (request) =>
    confirmed(request, 9, {
      topics: [{ topic: "a", sequence: 9, first: 5, replayed: 0, recovered: false }],
    });
  const lost = next(channel, "unrecovered");
  server.dropAll();
  assert.equal((await lost).first, 5);
  server.answers.subscribe = forbidden;
  const told = next(channel, "error");
  server.dropAll();
  assert.equal((await told).code, "forbidden");
});

test("without a consumer each topic is asked for by itself, at reconnects too", async (t) => {
  const { server, client } = await connected(t, { consumer: undefined });
  server.answers.subscribe = ({ channel }) => confirmed({ topics: [channel] }, 4);
  const report = await client.subscribe(["a", "b"]);
  assert.deepEqual(report.topics.map(({ topic }) => topic), ["a", "b"]);
  server.dropAll();
  await server.request("subscribe", 4);
  assert.deepEqual(
    server.heard.filter(({ event }) => event === "subscribe").map(({ value }) => value),
    [
      { channel: "a" },
      { channel: "b" },
      { channel: "a", after: { a: 4 }, epoch: "epoch-1" },
      { channel: "b", after: { b: 4 }, epoch: "epoch-1" },
    ],
  );
});

test("it publishes and asks who is here", async (t) => {
  const { server, client } = await connected(t, { producer: "p" });
  server.answers.publish = () => ({ status: "ok", sequence: 1 });
  server.answers.presence = () => ({ status: "ok", users: [{ user: "c" }] });
  const channel = client.channel("a");
  await channel.publish({ n: 1 }, { message_id: "m" });
  const { value } = await server.request("publish");
  assert.deepEqual(value, { topic: "a", message_id: "m", message: { n: 1 }, producer: "p" });
  assert.deepEqual(await channel.presence(), [{ user: "c" }]);
});

test("unread notifications do not hide what a first subscription asks for", async (t) => {
  const server = await FakeServer.start(t);
  const say = (sequence) => ["notification", message("notifications:42", sequence, { replayed: true })];
  // 1 and 2 were read elsewhere; the server begins with 3, before the client has asked for anything.
  server.acceptNamespace = () => {
    setImmediate(() => server.emit(...say(3)));
    return true;
  };
  server.answers.subscribe = undefined;
  const client = await connect(t, server, { consumer: "c" });
  const bell = client.channel("notifications:42", { after: "consumed" });
  const heard = [];
  const all = next(client, "notification", (_, { sequence }) => sequence === 4);
  client.on("notification", (_, { sequence }) => heard.push(sequence));
  const { value } = await server.request("subscribe");
  server.emit(...say(3));
  server.emit("subscribed", confirmed(value, 4));
  for (const sequence of [1, 2, 3, 4]) server.emit(...say(sequence));
  await all;
  assert.deepEqual(heard, [1, 2, 3, 4]);
  assert.equal(bell.topic, "notifications:42");
});

test("what the server sends before a subscription goes on is left to the subscription", async (t) => {
  const { server, client } = await connected(t);
  const bell = client.channel("notifications:42");
  const heard = [];
  bell.on("notification", (_, { sequence }) => heard.push(sequence));
  await bell.subscribed;
  const first = next(bell, "notification");
  const say = (sequence) => message("notifications:42", sequence);
  server.emit("notification", say(5));
  await first;
  // At the next connection the server begins with 7, because 6 was read in another window.
  server.replays = [6, 7].map((sequence) => ["notification", say(sequence)]);
  server.acceptNamespace = () => {
    setImmediate(() => server.emit("notification", say(7)));
    return true;
  };
  const last = next(bell, "notification", (_, { sequence }) => sequence === 7);
  server.dropAll();
  await last;
  assert.deepEqual(heard, [5, 6, 7]);
});
