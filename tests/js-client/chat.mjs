// Chats as `wscat` would, over the package `ws`: joins, says hello, waits for "Bye" and leaves.
// Prints the types of the frames that it got.
import assert from "node:assert/strict";
import WebSocket from "ws";

const [url, room] = process.argv.slice(2);
const socket = new WebSocket(url);
const types = [];

socket.on("message", (text) => {
  const frame = JSON.parse(text);
  if (frame.type === "ack") {
    socket.close();
    return;
  }
  if (frame.type === "presence" && types.includes("presence")) return; // somebody else changed
  types.push(frame.type);
  if (frame.type === "connected") send({ type: "join", room });
  if (frame.type === "history") send({ type: "message", data: { room, content: "Hello from Node" } });
  if (frame.data.content === "Bye") {
    assert.equal(frame.data.sequence, 2);
    send({ type: "leave", room, id: "goodbye" });
  }
});
socket.on("close", () => console.log(JSON.stringify(types)));

function send(frame) {
  socket.send(JSON.stringify(frame));
}
