import assert from "node:assert/strict";
import { test } from "node:test";

import { backoffDelay } from "../../src/python_pubsub_server/web/static/client/backoff.js";
import { Emitter } from "../../src/python_pubsub_server/web/static/client/emitter.js";
import {
  randomUUID,
  socketUrl,
} from "../../src/python_pubsub_server/web/static/client/platform.js";
import {
  decodeFrame,
  encodeFrame,
} from "../../src/python_pubsub_server/web/static/client/socketio.js";

test("packets are written as Socket.IO 5 wants them", () => {
  assert.equal(encodeFrame({ kind: "connect" }), "40");
  assert.equal(encodeFrame({ kind: "connect", data: { token: "t" } }), '40{"token":"t"}');
  assert.equal(encodeFrame({ kind: "connect", namespace: "/chat" }), "40/chat,");
  assert.equal(encodeFrame({ kind: "event", id: 12, data: ["a", null] }), '4212["a",null]');
  assert.equal(encodeFrame({ kind: "event", namespace: "/m", id: 0, data: ["a"] }), '42/m,0["a"]');
});

test("what was written is read again", () => {
  const packets = [
    { kind: "event", namespace: "/", id: undefined, data: ["x", { ",": "/a,1" }] },
    { kind: "ack", namespace: "/monitoring", id: 7, data: [0, "", {}] },
    { kind: "disconnect", namespace: "/chat", id: undefined, data: undefined },
    { kind: "connect_error", namespace: "/", id: undefined, data: { message: "no" } },
  ];
  for (const packet of packets) assert.deepEqual(decodeFrame(encodeFrame(packet)), packet);
});

test("engine frames are told apart", () => {
  assert.deepEqual(decodeFrame('0{"pingInterval":1}'), { kind: "open", data: { pingInterval: 1 } });
  assert.deepEqual(decodeFrame("2"), { kind: "ping" });
  assert.deepEqual(decodeFrame("1"), { kind: "close" });
  assert.equal(decodeFrame('40/n?a=1,{"sid":"s"}').namespace, "/n");
});

test("nonsense is a protocol error and nothing else", () => {
  for (const frame of ["", "9", "4", "49", "4x", '42{"a":1}', "42", '42["a"', "0{", Buffer.from("2")]) {
    assert.throws(() => decodeFrame(frame), { code: "protocol" }, String(frame));
  }
  assert.throws(() => encodeFrame({ kind: "binary" }), { code: "protocol" });
});

test("the backoff grows, is bounded, and spreads over its whole range", () => {
  const longest = [1, 2, 3, 4, 5, 1e9].map((n) => backoffDelay(n, { base: 100, max: 1000 }, () => 1));
  assert.deepEqual(longest, [100, 200, 400, 800, 1000, 1000]);
  assert.equal(backoffDelay(5, {}, () => 0), 0);
  assert.equal(backoffDelay(3, {}, () => 0.5), 1000);
});

test("the socket's URL keeps the path and the query of the server's", () => {
  assert.equal(socketUrl("http://h:1"), "ws://h:1/socket.io/?EIO=4&transport=websocket&envelope=true");
  assert.equal(
    socketUrl("https://h/pub?access_token=a"),
    "wss://h/pub/socket.io/?access_token=a&EIO=4&transport=websocket&envelope=true",
  );
  assert.throws(() => socketUrl("not a url"), TypeError);
});

test("ids are version 4 UUIDs without crypto.randomUUID too", () => {
  const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  const insecure = { getRandomValues: (bytes) => globalThis.crypto.getRandomValues(bytes) };
  assert.match(randomUUID(insecure), uuid);
  assert.match(randomUUID(), uuid);
  assert.notEqual(randomUUID(insecure), randomUUID(insecure));
});

test("a listener that throws keeps no other from hearing, and is reported", async (t) => {
  const reported = new Promise((resolve) => {
    globalThis.reportError = resolve;
    t.after(() => delete globalThis.reportError);
  });
  const emitter = new Emitter();
  const heard = [];
  emitter.on("x", () => {
    throw new Error("mine");
  });
  const off = emitter.on("x", (value) => heard.push(value));
  emitter.emit("x", 1);
  off();
  emitter.emit("x", 2);
  assert.deepEqual(heard, [1]);
  assert.equal((await reported).message, "mine");
});
