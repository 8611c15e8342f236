import assert from "node:assert/strict";
import { test } from "node:test";

import {
  confirmed,
  connect,
  FakeClock,
  FakeServer,
  isConnected,
  isReconnecting,
  message,
  next,
} from "./fake-server.mjs";

const publication = { topic: "a", message: { n: 1 }, producer: "p" };

async function connected(t, options) {
  const server = await FakeServer.start(t);
  const client = await connect(t, server, { consumer: "c", ...options });
  await next(client, "state", isConnected);
  return { server, client };
}

/** The client has taken all that the server said so far. */
async function settled(server, client) {
  server.answers.history = () => ({ status: "ok" });
  await client.request("history", { topic: "a" });
}

test("publishes what it was given and answers what the server answered", async (t) => {
  const { server, client } = await connected(t);
  server.answers.publish = () => ({ status: "ok", sequence: 7, timestamp: 1.5, duplicate: false });
  const ack = await client.publish({ ...publication, message_id: "m-1" });
  assert.equal(ack.sequence, 7);
  const { value } = await server.request("publish");
  assert.deepEqual(value, { ...publication, message_id: "m-1" });
});

test("a message that is null is a message, a missing one is an error", async (t) => {
  const { server, client } = await connected(t);
  server.answers.publish = () => ({ status: "ok" });
  await client.publish({ ...publication, message: null });
  assert.equal((await server.request("publish")).value.message, null);
  await assert.rejects(client.publish({ topic: "a", producer: "p" }), { code: "invalid" });
});

test("a refusal rejects with the server's code", async (t) => {
  const { server, client } = await connected(t);
  server.answers.publish = () => ({ status: "error", code: "forbidden", message: "not yours" });
  await assert.rejects(client.publish(publication), { code: "forbidden", message: "not yours" });
  const error = next(client, "error");
  server.emit("error", { code: "rate_limited", message: "slowly", event: "publish" });
  assert.deepEqual({ ...(await error) }, { name: "PubSubError", code: "rate_limited", event: "publish" });
});

test("credentials go into the handshake of every namespace, asked anew each time", async (t) => {
  let asked = 0;
  const { server, client } = await connected(t, { auth: async () => ({ token: `t${++asked}` }) });
  client.namespace("/monitoring");
  await next(client.namespace("/monitoring"), "connect");
  assert.deepEqual(server.handshakes, [
    { namespace: "/", auth: { token: "t1" } },
    { namespace: "/monitoring", auth: { token: "t2" } },
  ]);
});

test("namespaces share the socket and keep their events apart", async (t) => {
  const { server, client } = await connected(t);
  const monitoring = client.namespace("/monitoring");
  server.answers.request_nodes_status = () => ({ nodes: [] });
  const stats = next(monitoring, "stats");
  assert.deepEqual(await monitoring.request("request_nodes_status"), { nodes: [] });
  client.on("stats", () => assert.fail("not of /"));
  server.emit("stats", { dropped: 0 }, "/monitoring");
  assert.deepEqual(await stats, { dropped: 0 });
  const again = next(monitoring, "connect");
  server.dropAll();
  await again;
  assert.equal(server.connections.length, 2);
});

test("the server's own events are heard by name", async (t) => {
  const { server, client } = await connected(t);
  const event = next(client, "announcement");
  server.emit("announcement", { score: 2 });
  assert.deepEqual(await event, { score: 2 });
});

test("after a lost connection it subscribes again behind what it has", async (t) => {
  const { server, client } = await connected(t);
  server.answers.subscribe = (request) => confirmed(request, 4);
  const report = await client.subscribe(["a", "quiet", "host:*"]);
  assert.equal(report.epoch, "epoch-1");
  server.emit("message", message("a", 5));
  const last = next(client, "message", (m) => m.topic === "host:1");
  server.emit("message", message("host:1", 9));
  await last;
  server.dropAll();
  const { value } = await server.request("subscribe", 2);
  assert.deepEqual(value, {
    consumer: "c",
    topics: ["a", "quiet", "host:*"],
    after: { a: 5, quiet: 4, "host:*": "beginning", "host:1": 9 },
    epoch: "epoch-1",
  });
});

test("resuming can be switched off", async (t) => {
  const { server, client } = await connected(t, { resume: false });
  await client.subscribe("a");
  server.dropAll();
  assert.deepEqual((await server.request("subscribe", 2)).value, { consumer: "c", topics: ["a"] });
});

test("a message that comes twice is delivered once", async (t) => {
  const { server, client } = await connected(t);
  await client.subscribe("a");
  const sequences = [];
  client.on("message", (m) => sequences.push(m.sequence));
  const last = next(client, "message", (m) => m.sequence === 3);
  for (const sequence of [1, 2, 2, 1, 3]) server.emit("message", message("a", sequence));
  await last;
  assert.deepEqual(sequences, [1, 2, 3]);
});

test("a new log is told and delivered from its start", async (t) => {
  const { server, client } = await connected(t);
  await client.subscribe("a");
  const first = next(client, "message");
  server.emit("message", message("a", 8));
  await first;
  server.answers.subscribe = (request) => {
    server.replays = [1, 2].map((sequence) => message("a", sequence, { replayed: true }));
    const topics = [{ topic: "a", sequence: 2, first: 1, replayed: 2, recovered: false }];
    return confirmed(request, 2, { epoch: "epoch-2", topics });
  };
  const sequences = [];
  client.on("message", (m) => sequences.push(m.sequence));
  const unrecovered = next(client, "unrecovered");
  const last = next(client, "message", (m) => m.sequence === 2);
  server.dropAll();
  const { topic, epoch } = await unrecovered;
  await last;
  assert.deepEqual({ topic, epoch, sequences }, { topic: "a", epoch: "epoch-2", sequences: [1, 2] });
});

test("a first subscription says where to start, in the words that it was given", async (t) => {
  const { server, client } = await connected(t);
  await client.subscribe(["a", "b"], { after: "consumed" });
  await client.subscribe("c", { after: 12, epoch: "saved" });
  assert.equal((await server.request("subscribe", 1)).value.after, "consumed");
  const { after, epoch } = (await server.request("subscribe", 2)).value;
  assert.deepEqual({ after, epoch }, { after: 12, epoch: "saved" });
});

test("a subscription that was cut during its replay goes on where it was", async (t) => {
  const { server, client } = await connected(t);
  server.answers.subscribe = () => undefined;
  const report = client.subscribe(["a", "b"], { after: "beginning" });
  const first = await server.request("subscribe");
  server.emit("subscribed", confirmed(first.value));
  const third = next(client, "message", (m) => m.sequence === 3);
  for (const sequence of [1, 2, 3]) server.emit("message", message("a", sequence));
  await third;
  server.answers.subscribe = (request) => confirmed(request, 3);
  server.dropAll();
  await report;
  const { value } = await server.request("subscribe", 2);
  assert.deepEqual(value.after, { a: 3, b: 0 });
});

test("what was unsubscribed stays so, and starts afresh when it is subscribed again", async (t) => {
  const { server, client } = await connected(t);
  await client.subscribe(["a", "b"]);
  await client.unsubscribe("a");
  assert.deepEqual(client.topics, ["b"]);
  await client.subscribe("a");
  assert.deepEqual((await server.request("subscribe", 2)).value, { consumer: "c", topics: ["a"] });
  await client.unsubscribe();
  assert.deepEqual((await server.request("unsubscribe", 2)).value, {});
  const again = next(client, "state", isConnected);
  server.dropAll();
  await again;
  server.answers.publish = () => ({ status: "ok" });
  await client.publish(publication);
  assert.equal(server.heard.filter((r) => r.event === "subscribe").length, 2);
});

test("a topic that was left and joined anew resumes where it was joined anew", async (t) => {
  const { server, client } = await connected(t);
  await client.subscribe("a");
  const arrived = next(client, "message");
  server.emit("message", message("a", 5));
  await arrived;
  await client.unsubscribe("a");
  server.answers.subscribe = (request) => confirmed(request, 9);
  await client.subscribe("a");
  server.dropAll();
  assert.deepEqual((await server.request("subscribe", 3)).value.after, { a: 9 });
});

test("what is asked for from the beginning comes again", async (t) => {
  const { server, client } = await connected(t);
  await client.subscribe("a");
  const fifth = next(client, "message", (m) => m.sequence === 5);
  server.emit("message", message("a", 5));
  await fifth;
  server.replays = [1, 5].map((sequence) => message("a", sequence, { replayed: true }));
  const again = next(client, "message", (m) => m.sequence === 5);
  await client.subscribe("a", { after: "beginning" });
  assert.equal((await again).replayed, true);
});

test("a resume that the server could not do now is tried on another connection", async (t) => {
  const { server, client } = await connected(t);
  await client.subscribe(["a", "b"]);
  server.answers.subscribe = () => {
    server.answers.subscribe = confirmed;
    return { status: "error", code: "unavailable", message: "later" };
  };
  server.dropAll();
  const { value, connection } = await server.request("subscribe", 3);
  assert.deepEqual([value.topics, connection], [["a", "b"], 3]);
});

test("after a reconnect each thing is sent once", async (t) => {
  const { server, client } = await connected(t);
  await client.subscribe("a");
  const lost = next(client, "state", isReconnecting);
  server.dropAll();
  await lost;
  server.answers.publish = () => ({ status: "ok" });
  await client.publish(publication);
  const sent = server.heard.map((request) => request.event);
  assert.deepEqual(sent, ["subscribe", "subscribe", "publish"]);
});

test("a topic that is refused at a reconnect is told, and the others stay", async (t) => {
  const { server, client } = await connected(t);
  await client.subscribe(["good", "bad"]);
  server.answers.subscribe = (request) =>
    request.topics.includes("bad")
      ? { status: "error", code: "forbidden", message: "no longer" }
      : confirmed(request);
  const error = next(client, "error");
  server.dropAll();
  assert.equal((await error).code, "forbidden");
  await server.request("subscribe", 4);
  assert.deepEqual(client.topics, ["good"]);
});

test("a publish whose answer was lost is repeated under its id", async (t) => {
  const { server, client } = await connected(t);
  const ack = client.publish(publication);
  const first = await server.request("publish");
  server.answers.publish = () => ({ status: "ok", sequence: 1, duplicate: true });
  server.dropAll();
  assert.equal((await ack).duplicate, true);
  assert.deepEqual((await server.request("publish", 2)).value, first.value);
});

for (const code of ["unavailable", "rate_limited"]) {
  test(`a publish that is refused as ${code} is sent again, later each time`, async (t) => {
    const clock = new FakeClock();
    const { server, client } = await connected(t, { clock, random: () => 1 });
    server.answers.publish = () => ({ status: "error", code, message: "later" });
    const ack = client.publish(publication);
    const { value } = await server.request("publish");
    for (const [count, delay] of [[2, 500], [3, 1_000]]) {
      await settled(server, client);
      clock.advance(delay - 1);
      await settled(server, client);
      assert.equal(server.heard.filter(({ event }) => event === "publish").length, count - 1);
      if (count === 3) server.answers.publish = () => ({ status: "ok", sequence: 1 });
      clock.advance(1);
      assert.deepEqual((await server.request("publish", count)).value, value);
    }
    assert.equal((await ack).sequence, 1);
  });
}

test("a publish that is refused until its time is over rejects with the refusal", async (t) => {
  const clock = new FakeClock();
  const { server, client } = await connected(t, { clock, random: () => 1, deliveryTimeout: 1_200 });
  server.answers.publish = () => ({ status: "error", code: "unavailable", message: "later" });
  const ack = assert.rejects(client.publish(publication), { code: "unavailable" });
  await server.request("publish");
  await settled(server, client);
  clock.advance(500);
  await ack;
  assert.equal(server.heard.filter(({ event }) => event === "publish").length, 2);
});

test("a publish that waits to be sent again goes out with the next connection, and once", async (t) => {
  const clock = new FakeClock();
  const { server, client } = await connected(t, { clock });
  server.answers.publish = () => {
    server.answers.publish = () => ({ status: "ok", sequence: 1 });
    return { status: "error", code: "unavailable", message: "later" };
  };
  const ack = client.publish(publication);
  await server.request("publish");
  await settled(server, client);
  client.reconnect();
  assert.equal((await ack).sequence, 1);
  clock.advance(60_000);
  assert.equal(server.heard.filter(({ event }) => event === "publish").length, 2);
});

test("closing ends a publish that waits to be sent again", async (t) => {
  const clock = new FakeClock();
  const { server, client } = await connected(t, { clock, random: () => 1 });
  server.answers.publish = () => ({ status: "error", code: "unavailable", message: "later" });
  const ack = assert.rejects(client.publish(publication), { code: "closed" });
  await server.request("publish");
  await settled(server, client);
  client.close();
  await ack;
});

test("another request whose answer was lost is not repeated", async (t) => {
  const { server, client } = await connected(t);
  const answer = client.request("history", { topic: "a" });
  await server.request("history");
  server.dropAll();
  await assert.rejects(answer, { code: "disconnected" });
});

test("publishes wait for the connection in their order, up to a bound", async (t) => {
  const server = await FakeServer.start(t);
  server.answers.publish = () => ({ status: "ok" });
  const client = await connect(t, server, { queueLimit: 2 });
  const waiting = [1, 2].map((n) => client.publish({ ...publication, message: n }));
  await assert.rejects(client.publish(publication), { code: "queue_full" });
  await Promise.all(waiting);
  assert.deepEqual(server.heard.map((r) => r.value.message), [1, 2]);
});

test("a connection does not bound what is under way", async (t) => {
  const { server, client } = await connected(t, { queueLimit: 1 });
  server.answers.publish = () => ({ status: "ok" });
  await Promise.all([1, 2, 3].map(() => client.publish(publication)));
});

test("what waits for the first connection outlives failed attempts", async (t) => {
  const server = await FakeServer.start(t);
  server.acceptNamespace = () => {
    server.acceptNamespace = () => true;
    return { message: "draining", data: { code: "unavailable" } };
  };
  server.answers.history = () => ({ messages: [] });
  const client = await connect(t, server);
  assert.deepEqual(await client.request("history", { topic: "a" }), { messages: [] });
});

test("credentials that come late are not used on the next connection", async (t) => {
  const asked = [];
  const server = await FakeServer.start(t);
  const client = await connect(t, server, {
    auth: () => new Promise((resolve) => asked.push(resolve) && server.note()),
  });
  await server.until(() => asked.length === 1);
  server.dropAll();
  await server.until(() => asked.length === 2);
  asked[0]({ token: "late" });
  asked[1]({ token: "right" });
  await next(client, "state", isConnected);
  assert.deepEqual(server.handshakes, [{ namespace: "/", auth: { token: "right" } }]);
});

test("a namespace that is refused says so, and the others stay", async (t) => {
  const { server, client } = await connected(t);
  server.acceptNamespace = () => ({ message: "admins only", data: { code: "forbidden" } });
  const monitoring = client.namespace("/monitoring");
  const refusal = next(monitoring, "connect_error");
  await assert.rejects(monitoring.request("request_nodes_status"), { code: "forbidden" });
  assert.equal((await refusal).message, "admins only");
  assert.equal(client.state.name, "connected");
  assert.throws(() => client.namespace("/"), { code: "invalid" });
});

test("an answer that does not come is a timeout", async (t) => {
  const clock = new FakeClock();
  const { server, client } = await connected(t, { clock, requestTimeout: 3000 });
  const answer = client.request("history", { topic: "a" });
  await server.request("history");
  clock.advance(3001);
  await assert.rejects(answer, { code: "timeout", event: "history" });
});

test("a link without pings is given up", async (t) => {
  const clock = new FakeClock();
  const { client } = await connected(t, { clock });
  clock.advance(44_000);
  assert.equal(client.state.name, "connected");
  const lost = next(client, "state", isReconnecting);
  clock.advance(1_000);
  assert.match((await lost).error.message, /silent for 45000 ms/);
});

test("pings are answered and keep the link", async (t) => {
  const clock = new FakeClock();
  const { server, client } = await connected(t, { clock });
  clock.advance(40_000);
  server.send("2");
  await server.request("pong");
  clock.advance(40_000);
  assert.equal(client.state.name, "connected");
});

test("a server that never answers is given up", async (t) => {
  const clock = new FakeClock();
  const server = await FakeServer.start(t);
  server.acceptNamespace = () => undefined;
  const client = await connect(t, server, { clock, connectTimeout: 5_000 });
  const lost = next(client, "state", isReconnecting);
  clock.advance(5_000);
  assert.equal((await lost).error.code, "timeout");
});

test("a refusal that may pass is met with growing delays", async (t) => {
  const clock = new FakeClock();
  const server = await FakeServer.start(t);
  server.acceptNamespace = () => ({ message: "later", data: { code: "unavailable" } });
  const client = await connect(t, server, { clock, random: () => 1 });
  const delays = [];
  client.on("state", ({ name, delay }) => name === "reconnecting" && delays.push(delay));
  for (let round = 0; round < 3; round += 1) {
    const state = await next(client, "state", isReconnecting);
    assert.equal(state.error.code, "unavailable");
    clock.advance(state.delay);
  }
  assert.deepEqual(delays, [500, 1000, 2000]);
});

test("the delay starts over only after a connection that lasted", async (t) => {
  const clock = new FakeClock();
  const { server, client } = await connected(t, { clock, random: () => 1 });
  const delayAfter = async (lifetime) => {
    clock.advance(lifetime);
    const lost = next(client, "state", isReconnecting);
    server.dropAll();
    const { delay } = await lost;
    const again = next(client, "state", isConnected);
    clock.advance(delay);
    await again;
    return delay;
  };
  assert.equal(await delayAfter(10), 500);
  assert.equal(await delayAfter(10), 1000);
  assert.equal(await delayAfter(6000), 500);
});

test("credentials that were refused for good end the client, unless they can change", async (t) => {
  const server = await FakeServer.start(t);
  server.acceptNamespace = () => ({ message: "who?", data: { code: "unauthenticated" } });
  const client = await connect(t, server, { auth: { token: "old" } });
  const waiting = client.publish(publication);
  await assert.rejects(waiting, { code: "unauthenticated" });
  assert.equal(client.state.name, "closed");
  let token = "old";
  const patient = await connect(t, server, { auth: () => ({ token }) });
  await next(patient, "error");
  token = "new";
  server.acceptNamespace = () => true;
  await next(patient, "state", isConnected);
});

test("a frame that is not understood costs the connection, not the client", async (t) => {
  const { server, client } = await connected(t);
  const lost = next(client, "state", isReconnecting);
  server.send("42nonsense");
  assert.equal((await lost).error.code, "protocol");
  await next(client, "state", isConnected);
});

test("closing ends what waits, and what comes after", async (t) => {
  const { server, client } = await connected(t);
  const waiting = client.publish(publication);
  await server.request("publish");
  client.close();
  await assert.rejects(waiting, { code: "closed" });
  await assert.rejects(client.publish(publication), { code: "closed" });
  assert.equal(client.state.name, "closed");
});
