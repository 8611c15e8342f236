// express, Socket.IO and better-sqlite3: what a team writes that wants the messages kept.
// One commit a request, then the delivery: node express_sqlite.js PORT DATABASE FULL|NORMAL
"use strict";

const http = require("node:http");
const express = require("express");
const { Server } = require("socket.io");
const Database = require("better-sqlite3");

const [port, path, synchronous] = process.argv.slice(2);
const database = new Database(path);
database.pragma("journal_mode = WAL");
database.pragma(`synchronous = ${synchronous}`);
database.exec(`
  CREATE TABLE messages (
    position INTEGER PRIMARY KEY, topic TEXT NOT NULL, sequence INTEGER NOT NULL,
    message_id TEXT NOT NULL, message TEXT NOT NULL, producer TEXT NOT NULL, timestamp REAL NOT NULL
  );
  CREATE UNIQUE INDEX messages_by_sequence ON messages (topic, sequence);
  CREATE UNIQUE INDEX messages_by_id ON messages (message_id);
  CREATE TABLE consumptions (
    consumer TEXT NOT NULL, topic TEXT NOT NULL, message_id TEXT NOT NULL, timestamp REAL NOT NULL
  );
  CREATE UNIQUE INDEX consumptions_by_message ON consumptions (topic, message_id, consumer);
`);
const insert = database.prepare(`
  INSERT INTO messages (topic, sequence, message_id, message, producer, timestamp)
  VALUES (@topic, (SELECT coalesce(max(sequence), 0) + 1 FROM messages WHERE topic = @topic),
          @message_id, @message, @producer, @timestamp)
  RETURNING sequence`);
const insertConsumption = database.prepare(`
  INSERT OR IGNORE INTO consumptions (consumer, topic, message_id, timestamp) VALUES (?, ?, ?, ?)`);

function store({ topic, message_id, message, producer }) {
  const timestamp = Date.now() / 1000;
  const row = { topic, message_id, message: JSON.stringify(message), producer, timestamp };
  const { sequence } = insert.get(row);
  return { topic, message_id, message, producer, timestamp, sequence };
}
const storeAll = database.transaction((drafts) => drafts.map(store));

const app = express();
app.use(express.json({ limit: "10mb" }));
const server = http.createServer(app);
const io = new Server(server);
const deliver = (message) => io.to(message.topic).emit("message", message);

app.post("/publish", (request, response) => {
  deliver(store(request.body));
  response.json({ status: "ok" });
});

app.post("/publish/batch", (request, response) => {
  const messages = storeAll(request.body);
  messages.forEach(deliver);
  const results = messages.map(({ message_id, topic, sequence }) => ({
    message_id, topic, sequence, duplicate: false,
  }));
  response.json({ status: "ok", results });
});

io.on("connection", (socket) => {
  socket.on("subscribe", ({ topics }, answer) => {
    socket.join(topics);
    answer({ status: "ok" });
  });
  socket.on("publish", (draft, answer) => {
    const message = store(draft);
    deliver(message);
    answer({ status: "ok", sequence: message.sequence, timestamp: message.timestamp });
  });
  socket.on("consumed", ({ consumer, topic, message_id }, answer) => {
    insertConsumption.run(consumer, topic, message_id, Date.now() / 1000);
    answer({ status: "ok" });
  });
});

server.listen(Number(port), "127.0.0.1");
