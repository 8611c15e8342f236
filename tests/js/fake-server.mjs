/** A Socket.IO server for tests: answers what it is told to, keeps what it hears. */
import { once } from "node:events";
import { WebSocketServer } from "ws";

import { PubSubClient } from "../../src/python_pubsub_server/web/static/pubsub-client.js";

const PACKET = /^4([0-4])(?:(\/[^,]*),)?(\d*)(.*)$/s;

export class FakeServer {
  heard = []; // {connection, namespace, event, value}
  handshakes = []; // {namespace, auth}
  connections = [];
  answers = { subscribe: confirmed, unsubscribe: () => ({ status: "ok" }) };
  replays = []; // messages, or [event, value]: sent between the next request and its acknowledgement
  acceptNamespace = () => true;
  pingInterval = 25_000;
  #waiters = [];

  static async start(t, port = 0) {
    const server = new FakeServer();
    server.sockets = new WebSocketServer({ host: "127.0.0.1", port });
    server.sockets.on("connection", (socket) => server.#serve(socket));
    await once(server.sockets, "listening");
    server.url = `http://127.0.0.1:${server.sockets.address().port}`;
    t.after(() => server.stop());
    return server;
  }

  stop() {
    this.dropAll();
    this.sockets.close();
  }

  /** Cuts every connection without a word. */
  dropAll() {
    for (const socket of this.sockets.clients) socket.terminate();
  }

  /** The `count`th request of an event, once it is there. */
  async request(event, count = 1) {
    const found = () => this.heard.filter((request) => request.event === event);
    await this.until(() => found().length >= count);
    return found()[count - 1];
  }

  /** Waits until something holds; it is looked at after each thing heard, and each `note()`. */
  async until(holds) {
    while (!holds()) await new Promise((resolve) => this.#waiters.push(resolve));
  }

  note() {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }

  emit(event, value, namespace = "") {
    this.send(`42${namespace && `${namespace},`}${JSON.stringify([event, value])}`);
  }

  send(frame) {
    this.connections.at(-1).send(frame);
  }

  #serve(socket) {
    this.connections.push(socket);
    const connection = this.connections.length;
    const open = { sid: "s", upgrades: [], pingInterval: this.pingInterval, pingTimeout: 20_000 };
    socket.send(`0${JSON.stringify(open)}`);
    socket.on("message", (data) => this.#receive(socket, connection, data.toString()));
  }

  #receive(socket, connection, text) {
    if (text === "3") this.#hear({ connection, event: "pong" });
    const [, type, path, id, body] = PACKET.exec(text) ?? [];
    const place = path ? `${path},` : "";
    if (type === "0") {
      this.handshakes.push({ namespace: path ?? "/", auth: body && JSON.parse(body) });
      const verdict = this.acceptNamespace(path ?? "/");
      if (verdict === undefined) return;
      if (verdict === true) socket.send(`40${place}{"sid":"n"}`);
      else socket.send(`44${place}${JSON.stringify(verdict)}`);
    } else if (type === "2") {
      const [event, value] = JSON.parse(body);
      const answer = this.answers[event]?.(value);
      if (event === "subscribe" && answer?.status === "ok") this.emit("subscribed", answer);
      for (const replayed of this.replays.splice(0)) {
        if (Array.isArray(replayed)) this.emit(...replayed);
        else this.emit("message", replayed);
      }
      if (answer !== undefined && id) socket.send(`43${place}${id}${JSON.stringify([answer])}`);
      this.#hear({ connection, namespace: path ?? "/", event, value });
    }
  }

  #hear(request) {
    this.heard.push(request);
    this.note();
  }
}

/** The report of a server on which every topic stands at `sequence`. */
export function confirmed({ consumer, topics }, sequence = 0, more = {}) {
  const rows = topics.map((topic) => ({ topic, sequence, first: 1, replayed: 0, recovered: true }));
  return { status: "ok", epoch: "epoch-1", consumer, topics: rows, ...more };
}

/** A clock that stands still until it is told to go on. */
export class FakeClock {
  #now = 0;
  #timers = new Set();
  now = () => this.#now;
  setTimeout = (callback, delay) => {
    const timer = { callback, at: this.#now + delay };
    this.#timers.add(timer);
    return timer;
  };
  clearTimeout = (timer) => this.#timers.delete(timer);

  advance(milliseconds) {
    const end = this.#now + milliseconds;
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.at <= end);
      if (!due.length) break;
      const next = due.reduce((first, timer) => (timer.at < first.at ? timer : first));
      this.#timers.delete(next);
      this.#now = next.at;
      next.callback();
    }
    this.#now = end;
  }
}

/** A client that is closed with its test, and that reconnects at once unless told otherwise. */
export async function connect(t, server, options = {}) {
  const { WebSocket } = await import("ws");
  const client = new PubSubClient(server.url, { WebSocket, random: () => 0, ...options });
  t.after(() => client.close());
  return client;
}

/** The next value of an event for which `test` holds; events: as they come. */
export function next(emitter, event, test = () => true) {
  return new Promise((resolve) => {
    const off = emitter.on(event, (value, ...more) => {
      if (!test(value, ...more)) return;
      off();
      resolve(value);
    });
  });
}

export const isConnected = (state) => state.name === "connected";
export const isReconnecting = (state) => state.name === "reconnecting";

export function message(topic, sequence, more = {}) {
  return { topic, sequence, message_id: `m-${sequence}`, message: sequence, producer: "p", ...more };
}
