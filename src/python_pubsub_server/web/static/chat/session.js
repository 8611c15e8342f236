import { Emitter } from "../client/emitter.js";
import { randomUUID } from "../client/platform.js";
import { RoomLog } from "./room-log.js";

// Refusals that pass by themselves: the message goes on waiting.
const PASSING = ["disconnected", "timeout", "unavailable", "rate_limited", "queue_full"];
const RETRY_MS = 2_000;
const TYPING_MS = 2_000; // how often one says that one types, and half of how long it is believed
const MOST_MESSAGES = 1_000;
const OLDER = 50;

/**
 * A chat that survives lost connections: rooms are joined again behind what is known of them, and
 * each message that was sent is there once.
 *
 * Events: `user` · `rooms` (the server's list) · `change` (room) · `said` (room, new messages) ·
 * `problem` (a PubSubError).
 */
export class ChatSession extends Emitter {
  /** One's own name, when the server has said it. */
  user = null;
  isAway = false;
  #namespace;
  #outbox;
  #clock;
  #epoch = null;
  #logs = new Map();
  #live = new Set(); // rooms that are joined on this connection
  #typedAt = new Map();
  #typing = new Map(); // room → user → until when

  /**
   * @param {object} namespace `/chat` of a client
   * @param {{load: () => object, save: (waiting: object) => void}} outbox keeps what waits
   */
  constructor(namespace, outbox, clock) {
    super();
    this.#namespace = namespace;
    this.#outbox = outbox;
    this.#clock = clock;
    const events = {
      connected: this.#connected,
      disconnect: () => this.#live.clear(),
      connect_error: (error) => this.emit("problem", error),
      error: ({ data }) => this.emit("problem", data),
      presence: ({ data }) => this.#change(data.room, (log) => (log.users = data.users)),
      message: ({ data }) => this.#heard(data),
      history: ({ data }) => this.#history(data),
      typing: ({ data }) => this.#othersType(data),
      rooms: ({ data }) => this.emit("rooms", data.rooms),
      heartbeat: () => namespace.send("heartbeat"),
    };
    for (const [name, listener] of Object.entries(events)) namespace.on(name, listener);
  }

  get rooms() {
    return [...this.#logs.keys()];
  }

  /** The log of a room that one is in, or wants to be. */
  log(room) {
    return this.#logs.get(room);
  }

  /** Whether what is sent to a room goes out at once. */
  isLive(room) {
    return this.#live.has(room);
  }

  /** Goes into a room, for good: again after each lost connection. */
  join(room) {
    if (this.#logs.has(room)) return;
    const log = new RoomLog();
    log.pending = (this.#outbox.load()[room] ?? []).map((each) => ({ ...each, state: "waiting" }));
    this.#logs.set(room, log);
    if (this.user !== null && this.#namespace.connected) this.#enter(room);
  }

  async leave(room) {
    for (const known of [this.#logs, this.#live, this.#typing, this.#typedAt]) known.delete(room);
    this.#keep();
    await this.#request("leave", { room });
  }

  /** Says something; without a connection it waits for the next one. */
  send(room, content) {
    this.#change(room, (log) => log.pending.push({ id: randomUUID(), content, state: "waiting" }));
    this.#keep();
    this.#typedAt.delete(room);
    this.#flush(room);
  }

  /** Gives up a message that is not sent yet. */
  discard(room, id) {
    this.#change(room, (log) => (log.pending = log.pending.filter((each) => each.id !== id)));
    this.#keep();
  }

  /** Tells the others that one is typing, now and then. */
  type(room) {
    const now = this.#clock.now();
    if (!this.isLive(room) || now < (this.#typedAt.get(room) ?? -TYPING_MS) + TYPING_MS) return;
    this.#typedAt.set(room, now);
    this.#namespace.send("typing", { room });
  }

  /** Who is typing now. */
  typists(room) {
    const now = this.#clock.now();
    return [...(this.#typing.get(room) ?? [])].filter(([, until]) => until > now).map(([user]) => user);
  }

  setAway(isAway) {
    this.isAway = isAway;
    this.#namespace.send("status", { status: isAway ? "away" : "online" });
  }

  /** Asks for what was said before what is known. */
  async askOlder(room) {
    const log = this.#logs.get(room);
    if (!log?.hasOlder || log.isAsking || !this.isLive(room)) return;
    log.isAsking = true;
    const first = log.first;
    await this.#request("history", { room, before: first, limit: OLDER });
    log.isAsking = false;
    if (log.first === first && this.isLive(room)) log.isAtBeginning = true;
    this.#change(room, () => {});
  }

  askRooms() {
    this.#namespace.send("rooms");
  }

  #connected = ({ data }) => {
    this.user = data.user;
    if (this.#epoch !== null && this.#epoch !== data.epoch) {
      for (const log of this.#logs.values()) log.clear();
    }
    this.#epoch = data.epoch;
    this.emit("user", data.user);
    if (this.isAway) this.setAway(true);
    for (const room of this.#logs.keys()) this.#enter(room);
    this.askRooms();
  };

  async #enter(room) {
    const log = this.#logs.get(room);
    const request = { room, epoch: this.#epoch };
    if (log.last !== null) request.last_seq = log.last;
    if (!(await this.#request("join", request))) return;
    this.#live.add(room); // its history is here, so what is still pending was not stored
    for (const each of log.pending) if (each.state === "sent") each.state = "waiting";
    this.#flush(room);
    this.#change(room, () => {});
  }

  async #flush(room) {
    for (const message of this.#logs.get(room)?.pending ?? []) {
      if (!this.isLive(room)) return;
      if (message.state === "waiting") this.#deliver(room, message);
    }
  }

  async #deliver(room, message) {
    message.state = "sent";
    const { id, content } = message;
    try {
      await this.#namespace.request("message", { data: { room, content, id } });
      this.discard(room, id); // it has been heard, or it was stored before
    } catch (error) {
      message.state = PASSING.includes(error.code) ? "waiting" : "failed";
      message.reason = error.message;
      if (this.isLive(room) && message.state === "waiting") {
        this.#clock.setTimeout(() => this.#flush(room), RETRY_MS);
      }
      this.#change(room, () => {});
    }
  }

  #heard(message) {
    const log = this.#logs.get(message.room);
    if (!log) return;
    if (message.user === "system") log.notice(message);
    else this.#take(message.room, [message]);
    this.#typing.get(message.room)?.delete(message.user);
    this.emit("change", message.room);
  }

  #history({ room, messages, recovered }) {
    const log = this.#logs.get(room);
    if (!log) return;
    const isBehind = log.last !== null && messages[0]?.sequence > log.last + 1;
    if (recovered === false || isBehind) log.clear();
    this.#take(room, messages);
    this.emit("change", room);
  }

  #take(room, messages) {
    const log = this.#logs.get(room);
    const fresh = log.add(messages);
    if (fresh.length) log.trim(MOST_MESSAGES);
    this.#keep();
    if (fresh.length) this.emit("said", room, fresh);
  }

  #othersType({ room, user }) {
    if (!this.#logs.has(room)) return;
    const users = this.#typing.get(room) ?? new Map();
    const until = this.#clock.now() + 2 * TYPING_MS;
    this.#typing.set(room, users.set(user, until));
    this.#clock.setTimeout(() => {
      if (users.get(user) === until) users.delete(user);
      this.emit("change", room);
    }, 2 * TYPING_MS + 50);
    this.emit("change", room);
  }

  #change(room, change) {
    const log = this.#logs.get(room);
    if (!log) return;
    change(log);
    this.emit("change", room);
  }

  #keep() {
    const waiting = [...this.#logs].filter(([, log]) => log.pending.length);
    this.#outbox.save(
      Object.fromEntries(
        waiting.map(([room, log]) => [room, log.pending.map(({ id, content }) => ({ id, content }))]),
      ),
    );
  }

  /** The answer, or null; what went wrong is told, unless the connection did. */
  async #request(event, value) {
    try {
      return await this.#namespace.request(event, value);
    } catch (error) {
      if (!PASSING.includes(error.code)) this.emit("problem", error);
      return null;
    }
  }
}
