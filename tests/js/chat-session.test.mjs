import assert from "node:assert/strict";
import { test } from "node:test";

import { Emitter } from "../../src/python_pubsub_server/web/static/client/emitter.js";
import { RoomLog } from "../../src/python_pubsub_server/web/static/chat/room-log.js";
import { ChatSession } from "../../src/python_pubsub_server/web/static/chat/session.js";

/** The namespace `/chat` as a session uses it: keeps what is asked, answers when it is told to. */
class FakeNamespace extends Emitter {
  connected = false;
  asked = [];
  sent = [];

  send(event, value) {
    this.sent.push([event, value]);
  }

  request(event, value) {
    return new Promise((resolve, reject) => this.asked.push({ event, value, resolve, reject }));
  }

  hear(event, data) {
    this.emit(event, { data });
  }

  connect(epoch = "e") {
    this.connected = true;
    this.hear("connected", { user: "ann", clientId: "c", epoch });
  }

  lose() {
    this.connected = false;
    const asked = this.asked.splice(0);
    for (const { reject } of asked) reject(Object.assign(new Error("lost"), { code: "disconnected" }));
    this.emit("disconnect", new Error("lost"));
  }

  /** The next request of an event, taken off the list. */
  take(event) {
    const index = this.asked.findIndex((each) => each.event === event);
    assert.notEqual(index, -1, `${event} was not asked`);
    return this.asked.splice(index, 1)[0];
  }
}

const clock = { now: () => performance.now(), setTimeout: () => 0 };
const settled = () => new Promise((resolve) => setImmediate(resolve));

function said(sequence, id = `m${sequence}`, user = "ben") {
  return { id, room: "hall", user, content: `${sequence}`, sequence, timestamp: sequence };
}

function begin(kept = {}) {
  const namespace = new FakeNamespace();
  const outbox = { kept, load: () => outbox.kept, save: (value) => (outbox.kept = value) };
  const session = new ChatSession(namespace, outbox, clock);
  session.join("hall");
  return { namespace, outbox, session };
}

async function enter(namespace, messages = []) {
  namespace.connect();
  const join = namespace.take("join");
  namespace.hear("history", { room: "hall", messages });
  join.resolve({ status: "ok" });
  await settled();
  return join.value;
}

test("what is written before the join is answered goes out behind it, in order", async () => {
  const { namespace, session } = begin();
  session.send("hall", "one");
  session.send("hall", "two");
  namespace.connect();
  assert.deepEqual(namespace.asked.map(({ event }) => event), ["join"]);
  namespace.take("join").resolve({ status: "ok" });
  await settled();
  assert.deepEqual(namespace.asked.map(({ value }) => value.data.content), ["one", "two"]);
});

test("a room is joined again behind its last message, with the epoch", async () => {
  const { namespace } = begin();
  assert.deepEqual(await enter(namespace, [said(1), said(2)]), { room: "hall", epoch: "e" });
  namespace.hear("message", said(3));
  namespace.lose();
  namespace.connect();
  assert.deepEqual(namespace.take("join").value, { room: "hall", epoch: "e", last_seq: 3 });
});

test("a message whose answer was lost is sent again only if the history does not have it", async () => {
  const { namespace, session, outbox } = begin();
  await enter(namespace);
  session.send("hall", "stored");
  session.send("hall", "lost");
  const [stored, lost] = namespace.asked.map(({ value }) => value.data.id);
  namespace.lose();
  await settled();
  await enter(namespace, [said(1, stored, "ann")]);
  assert.deepEqual(namespace.asked.map(({ value }) => value.data.id), [lost]);
  assert.deepEqual(outbox.kept.hall.map(({ id }) => id), [lost]);
  namespace.hear("message", said(2, lost, "ann"));
  assert.deepEqual(session.log("hall").pending, []);
  assert.deepEqual(outbox.kept, {});
});

test("what was kept by the page before is sent with its own id", async () => {
  const { namespace } = begin({ hall: [{ id: "kept", content: "hello" }] });
  await enter(namespace);
  assert.deepEqual(namespace.take("message").value.data, { room: "hall", content: "hello", id: "kept" });
});

test("a refused message stays, with the reason, and is not sent again by itself", async () => {
  const { namespace, session } = begin();
  await enter(namespace);
  session.send("hall", "x");
  namespace.take("message").reject(Object.assign(new Error("too long"), { code: "too_large" }));
  await settled();
  assert.equal(session.log("hall").pending[0].state, "failed");
  assert.equal(session.log("hall").pending[0].reason, "too long");
  namespace.lose();
  await enter(namespace);
  assert.deepEqual(namespace.asked, []);
});

test("another log, or a history with a gap, begins anew", async () => {
  const { namespace, session } = begin();
  await enter(namespace, [said(1), said(2)]);
  namespace.lose();
  namespace.connect("another");
  assert.equal(namespace.take("join").value.last_seq, undefined);
  namespace.hear("history", { room: "hall", messages: [said(1, "other")] });
  assert.deepEqual(session.log("hall").messages.map(({ id }) => id), ["other"]);
  namespace.hear("history", { room: "hall", messages: [said(9)], recovered: false });
  assert.deepEqual(session.log("hall").messages.map(({ id }) => id), ["m9"]);
});

test("older messages are put before the others, and asked for until there are none", async () => {
  const { namespace, session } = begin();
  await enter(namespace, [said(51)]);
  const asking = session.askOlder("hall");
  assert.deepEqual(namespace.asked[0].value, { room: "hall", before: 51, limit: 50 });
  namespace.hear("history", { room: "hall", messages: [said(49), said(50)] });
  namespace.take("history").resolve({ status: "ok" });
  await asking;
  assert.deepEqual(session.log("hall").messages.map(({ sequence }) => sequence), [49, 50, 51]);
  const again = session.askOlder("hall");
  namespace.take("history").resolve({ status: "ok" });
  await again;
  assert.equal(session.log("hall").hasOlder, false);
});

test("a heartbeat is answered", async () => {
  const { namespace } = begin();
  await enter(namespace);
  namespace.hear("heartbeat", { timestamp: 1 });
  assert.deepEqual(namespace.sent.at(-1), ["heartbeat", undefined]);
});

test("a log takes each message once and forgets the oldest", () => {
  const log = new RoomLog();
  log.add([said(1), said(2)]);
  assert.deepEqual(log.add([said(2), said(3)]).map(({ sequence }) => sequence), [3]);
  log.trim(2);
  assert.deepEqual([log.first, log.last], [2, 3]);
  assert.equal(log.countAfter(2, "ann"), 1);
  assert.equal(log.countAfter(2, "ben"), 0);
});
