// Socket.IO alone: it fans out and stores nothing.
"use strict";

const http = require("node:http");
const { Server } = require("socket.io");

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    deliver(JSON.parse(Buffer.concat(chunks)));
    const answer = '{"status":"ok"}';
    response.writeHead(200, {
      "Content-Type": "application/json",
      "Content-Length": answer.length,
    });
    response.end(answer);
  });
});
const io = new Server(server);
let sequence = 0;

function deliver(draft) {
  sequence += 1;
  io.to(draft.topic).emit("message", { ...draft, timestamp: Date.now() / 1000, sequence });
}

io.on("connection", (socket) => {
  socket.on("subscribe", ({ topics }, answer) => {
    socket.join(topics);
    answer({ status: "ok" });
  });
  socket.on("publish", (draft, answer) => {
    deliver(draft);
    answer({ status: "ok" });
  });
});

server.listen(Number(process.argv[2]), "127.0.0.1");
