// What a page would do with the official client. Prints one line of JSON when all of it held.
import assert from "node:assert/strict";
import { io } from "socket.io-client";

const [url, transports, topic] = process.argv.slice(2);
const socket = io(url, { transports: transports.split(","), reconnection: false, timeout: 20_000 });
const received = [];
socket.on("message", (message) => received.push(message));

function next(event) {
  return new Promise((resolve) => socket.once(event, resolve));
}

function call(event, ...argument) {
  return socket.timeout(20_000).emitWithAck(event, ...argument);
}

async function until(count) {
  while (received.length < count) await next("message");
}

function draft(number, message) {
  return { topic, message_id: `m-${number}`, message, producer: "js" };
}

await new Promise((resolve, reject) => {
  socket.once("connect", resolve);
  socket.once("connect_error", reject);
});
if (socket.io.engine.transport.name !== transports.split(",").at(-1)) {
  await new Promise((resolve) => socket.io.engine.once("upgrade", resolve));
}
assert.equal(socket.io.engine.transport.name, transports.split(",").at(-1));

// Subscribing
const subscribed = next("subscribed");
const joined = await call("subscribe", { consumer: "js", topics: [topic, `${topic}*`] });
assert.equal(joined.status, "ok");
assert.deepEqual(joined.topics.map((each) => each.topic), [topic, `${topic}*`]);
assert.deepEqual(await subscribed, joined);

// Publishing
const values = ["Grüße 🌱 \u2028 日本語", { text: '"\\\u0000', list: [null, 1.5, [], {}] }, null, 0, "", 2 ** 53];
for (const [number, value] of values.entries()) {
  const answer = await call("publish", draft(number, value));
  assert.equal(answer.status, "ok");
  assert.equal(answer.sequence, number + 1);
  assert.equal(answer.duplicate, false);
  assert.equal(typeof answer.timestamp, "number");
}
await until(values.length);
assert.deepEqual(received.map((each) => each.message), values);
assert.deepEqual(received.map((each) => each.sequence), values.map((_, n) => n + 1));
assert.equal((await call("publish", draft(0, values[0]))).duplicate, true);

// Many at once: acknowledged and delivered in order
const answers = await Promise.all(
  Array.from({ length: 300 }, (_, n) => call("publish", draft(1_000 + n, n))),
);
assert.deepEqual(answers.map((each) => each.sequence), answers.map((_, n) => values.length + 1 + n));
await until(values.length + 300);
assert.deepEqual(received.slice(values.length).map((each) => each.message), answers.map((_, n) => n));

// Confirming
const claim = { consumer: "js", topic, message_id: "m-1", sequence: 2 };
for (let times = 0; times < 2; times += 1) assert.equal((await call("consumed", claim)).status, "ok");
assert.equal((await call("consumed", { ...claim, message_id: "m-x" })).code, "not_found");

// Errors: as the acknowledgement, or as an event; the connection lives
for (const [event, argument, code] of [
  ["publish", { topic }, "invalid"],
  ["publish", undefined, "invalid"],
  ["publish", [1], "invalid"],
  ["publish", { ...draft(1, "x"), message: Buffer.from([0, 255]) }, "invalid"],
  ["subscribe", new Uint8Array([1, 2]), "invalid"],
  ["nonsense", {}, "not_found"],
]) {
  const answer = await call(event, argument);
  assert.equal(answer.status, "error", event);
  assert.equal(answer.code, code, event);
  const error = next("error");
  socket.emit(event, argument);
  assert.equal((await error).code, code, event);
}
assert.equal(socket.connected, true);

// Leaving
assert.deepEqual((await call("unsubscribe", {})).topics.sort(), [topic, `${topic}*`].sort());
await call("publish", draft(9_999, "unheard"));
await call("unsubscribe", {});
assert.equal(received.length, values.length + 300);
socket.disconnect();
console.log(JSON.stringify({ received: received.length }));
