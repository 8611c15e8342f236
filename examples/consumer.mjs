#!/usr/bin/env node
/**
 * Print messages as they come, and confirm each one as consumed, with the official client.
 *
 *     npm ci --prefix examples
 *     node examples/consumer.mjs --consumer my-consumer --topics "host:*" orders
 *
 * What is published while this program is away waits for it: it always asks for everything that
 * this consumer has not confirmed yet (`after: "consumed"`). A message whose confirmation got lost
 * with the connection therefore comes a second time; that is what at least once means.
 */

import { parseArgs } from "node:util";

let io;
try {
  ({ io } = await import("socket.io-client"));
} catch (error) {
  if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
  console.error("socket.io-client is missing: npm ci --prefix examples");
  process.exit(1);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: "string", default: "http://localhost:5000" },
    consumer: { type: "string", default: "example-javascript" },
    topics: { type: "string", multiple: true },
    count: { type: "string", default: "0" }, // messages to consume; 0: no end
  },
});
const consumer = values.consumer;
const topics = [...(values.topics ?? ["host:*"]), ...positionals];
let left = Number(values.count);

const socket = io(values.url, { reconnectionDelay: 200, reconnectionDelayMax: 5000 });

socket.on("connect", () => {
  socket.emit("subscribe", { consumer, topics, after: "consumed" }, (answer) => {
    if (answer.status !== "ok") {
      console.error(`cannot subscribe: ${answer.message}`);
      process.exitCode = 1;
      socket.disconnect();
      return;
    }
    const missed = answer.topics.reduce((sum, topic) => sum + topic.replayed, 0);
    console.error(`subscribed to ${topics.join(", ")}, ${missed} missed messages first`);
  });
});

socket.on("message", ({ topic, message_id, sequence, message }) => {
  console.log(`${topic} #${sequence} ${JSON.stringify(message)}`);
  socket.emit("consumed", { consumer, topic, message_id, sequence }, (answer) => {
    if (answer.status !== "ok") console.error(`not confirmed: ${answer.message}`);
    left -= 1;
    if (left === 0) socket.disconnect();
  });
});

socket.on("connect_error", (error) => console.error(`not connected: ${error.message}`));
socket.on("disconnect", (reason) => console.error(`disconnected: ${reason}`));
socket.on("error", (error) => console.error(`error: ${error.code}: ${error.message}`));

process.on("SIGINT", () => socket.disconnect());
