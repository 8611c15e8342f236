#!/usr/bin/env node
/**
 * Print what concerns one user, with the official client: its notifications, the votes, and what
 * happens to one resource. What comes while the connection is lost is printed when it is back.
 *
 *     npm ci --prefix examples
 *     node examples/notifications.mjs --user ann --resource plan
 *
 * A server with authentication wants a token: TOKEN=… in the environment.
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

const { values } = parseArgs({
  options: {
    url: { type: "string", default: "http://localhost:5000" },
    user: { type: "string", default: "ann" },
    resource: { type: "string", default: "plan" },
    count: { type: "string", default: "0" }, // events to print; 0: no end
  },
});
const topics = [
  `notifications:${values.user}`,
  "suggestions:votes",
  `resource:updates:${values.resource}`,
];
const places = {}; // topic → the last sequence that is known
let epoch;
let left = Number(values.count);

const token = () => process.env.TOKEN; // an application would ask its own server for a new one
const socket = io(values.url, {
  // Whole messages: they say their place, and one can resume behind it.
  query: { envelope: "true" },
  // A function is asked at each connect.
  auth: (answer) => answer(token() ? { token: token() } : {}),
  reconnectionDelay: 200,
  reconnectionDelayMax: 5000,
});

socket.on("connect", () => {
  const request = { consumer: values.user, topics };
  if (epoch) Object.assign(request, { after: places, epoch });
  socket.emit("subscribe", request, (answer) => {
    if (answer.status === "ok") return;
    console.error(`cannot subscribe: ${answer.message}`);
    process.exitCode = 1;
    socket.disconnect();
  });
});

// It comes before the first message, so the places are those of the log that the server has now.
socket.on("subscribed", (report) => {
  epoch = report.epoch;
  for (const { topic, sequence, replayed, recovered } of report.topics) {
    places[topic] = sequence - replayed;
    if (!recovered) console.error(`some of ${topic} is lost`);
  }
  console.error("subscribed");
});

const show = (event, describe) =>
  socket.on(event, ({ topic, sequence, message }) => {
    if (sequence !== null) places[topic] = sequence; // null: said through Redis, not in the log
    console.log(`${event}: ${describe(message)}`);
    left -= 1;
    if (left === 0) socket.disconnect();
  });
show("notification", ({ title }) => title);
show("suggestion:vote", ({ suggestion_id: id, score }) => `${id} stands at ${score}`);
show("resource:update", (update) => JSON.stringify(update));

socket.on("error", ({ code, message }) => console.error(`error: ${code}: ${message}`));
socket.on("connect_error", ({ message }) => console.error(`not connected: ${message}`));
socket.on("disconnect", (reason) => {
  console.error(`disconnected: ${reason}`);
  // The server ends the connection of a token that is over; the official client then stays away
  // unless it is told to come back.
  if (reason === "io server disconnect" && token()) socket.connect();
});

process.on("SIGINT", () => socket.disconnect());
