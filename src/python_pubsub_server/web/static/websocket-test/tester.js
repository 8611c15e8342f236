import { Emitter } from "../client/emitter.js";
import { PubSubError } from "../client/errors.js";
import { Link } from "../client/link.js";
import { Namespace } from "../client/namespace.js";
import { socketUrl, systemClock } from "../client/platform.js";
import { PollingSocket } from "../client/polling.js";
import { UpgradingSocket } from "../client/upgrading.js";
import { lossless } from "../page/lossless.js";
import { DOORS } from "./doors.js";
import { describe, Tap } from "./frames.js";
import { PlainLink } from "./plain-link.js";

const OPTIONS = { clock: systemClock, requestTimeout: 10_000, queueLimit: 100, connectTimeout: 10_000, json: lossless, random: Math.random };
const MOST_UNANSWERED = 1_000;

/**
 * One connection to a door, of which everything is told: `state` (as PubSubClient's), `frame` (what
 * went over it, see `describe`; an answer has the `event` and the milliseconds `took` of its
 * request), `transport` (polling, websocket, or "" while nothing is open), `fact` (for the diagnosis).
 */
export class Tester extends Emitter {
  state = { name: "closed", attempt: 0, delay: 0 };
  settings = null;
  #link = null;
  #namespace = null;
  #asked = new Map(); // id → {event, at, isPing}, not answered yet
  #isPinging = false;
  #echoes = 0; // events that pings bring, not yet here
  #lastId = 0;
  #openedAt = 0;
  #heardAt = 0;

  /** @param {{door: string, transport: "upgrade" | "websocket" | "polling", token: string, query: string}} settings */
  connect(settings) {
    this.disconnect();
    this.settings = settings;
    const isPlain = DOORS[settings.door].isPlain ?? false;
    this.#namespace = isPlain ? null : this.#joined(settings.door);
    const observer = {
      linkOpened: () => {
        this.emit("transport", isPlain || settings.transport === "websocket" ? "websocket" : "polling");
        if (isPlain) this.#connected();
        else this.#namespace.connect(settings.token ? { token: settings.token } : {});
      },
      linkPacket: (packet) => {
        if (!isPlain && packet.namespace === settings.door) this.#namespace.receive(packet);
      },
      linkLost: (error, next) => this.#lost(error, next),
    };
    const open = (url) => this.#socket(url);
    const url = isPlain ? plainUrl(settings) : withQuery(socketUrl(location.origin), settings.query);
    this.#link = isPlain
      ? new PlainLink(() => open(url), observer)
      : new Link({ ...OPTIONS, url, WebSocket: function Opened(target) { return open(target); } }, observer);
    this.#become({ name: "connecting", attempt: 0, delay: 0 });
    this.#link.open();
  }

  /** Ends the connection until the next `connect` or `reconnect`. */
  disconnect(error) {
    if (!this.#link) return;
    this.#link.close();
    this.#link = null;
    this.#forget(error ?? new PubSubError("closed", "disconnected by hand"));
    this.#become({ name: "closed", attempt: 0, delay: 0, error });
  }

  /** The same connection anew, at once. */
  reconnect() {
    if (this.settings) this.connect(this.settings);
  }

  /**
   * Sends an event; what becomes of it is seen in the frames.
   * @param {boolean} isAnswered ask for an acknowledgement
   */
  send(event, value, isAnswered) {
    if (this.state.name !== "connected") return;
    if (!this.#namespace) {
      const id = isAnswered ? { id: ++this.#lastId } : {};
      this.#link.send(lossless.stringify({ type: event, ...id, ...value }));
    } else if (isAnswered) {
      this.#namespace.request(event, value).catch(() => {}); // the refusal is a frame of its own
    } else {
      this.#namespace.send(event, value);
    }
  }

  /** Measures a round trip; its frames are marked `isPing`. */
  ping() {
    const { event, body } = DOORS[this.settings.door].ping;
    this.#isPinging = true;
    this.send(event, body, true);
    this.#isPinging = false;
  }

  #joined(path) {
    const namespace = new Namespace(path, (packet) => this.#link.send(packet), OPTIONS);
    namespace.on("connect", () => {
      this.#link.settled();
      this.#connected();
    });
    const end = (error) => this.#link && this.disconnect(error);
    namespace.on("connect_error", (error) => {
      this.emit("fact", { kind: "refused", code: error.code, message: error.message });
      end(error);
    });
    namespace.on("disconnect", (error) => error.message === "sent away" && end(error));
    return namespace;
  }

  #socket(url) {
    const { door, transport } = this.settings;
    const isPlain = DOORS[door].isPlain ?? false;
    const way = isPlain ? "websocket" : transport;
    const options = {
      onRequest: (request) => this.emit("fact", { kind: "request", ...request }),
      onUpgrade: (step) => this.#upgraded(step),
    };
    let socket;
    if (way === "websocket") socket = this.#watched(url);
    else socket = way === "polling" ? new PollingSocket(url, options) : new UpgradingSocket(url, { ...options, WebSocket: watching(this) });
    this.#openedAt = this.#heardAt = performance.now();
    return new Tap(socket, (raw, isOwn) => this.#heard(raw, isOwn, isPlain));
  }

  /** A WebSocket of which the diagnosis hears when it opens and how it ends. @internal */
  watched(url) {
    return this.#watched(url);
  }

  #watched(url) {
    const socket = new WebSocket(url);
    const started = performance.now();
    let opened = null;
    socket.addEventListener("open", () => {
      opened = performance.now();
      this.emit("fact", { kind: "websocket", state: "open", ms: opened - started });
    });
    socket.addEventListener("close", ({ code, reason, wasClean }) => {
      const now = performance.now();
      const idle = Math.max(0, now - this.#heardAt);
      const fact = opened === null ? { state: "failed", ms: now - started } : { state: "closed", lived: now - opened, idle };
      this.emit("fact", { kind: "websocket", ...fact, code, reason, wasClean });
    });
    return socket;
  }

  #upgraded(step) {
    this.emit("fact", { kind: "upgrade", ...step });
    if (step.isDone) this.emit("transport", "websocket");
  }

  #heard(raw, isOwn, isPlain) {
    const frame = describe(raw, { isOwn, isPlain, at: Date.now() / 1000 });
    const now = performance.now();
    this.emit("fact", { kind: "frame", silent: now - this.#heardAt, isOwn });
    this.#heardAt = now;
    if (isOwn && frame.id !== undefined && frame.kind === "event") this.#ask(frame, now);
    if (!isOwn && frame.kind === "ack") this.#answered(frame, now);
    if (!isOwn && frame.kind === "event") this.#hearEcho(frame);
    this.emit("frame", frame);
  }

  #ask(frame, now) {
    frame.isPing = this.#isPinging;
    this.#asked.set(frame.id, { event: frame.event, at: now, isPing: this.#isPinging });
    if (this.#asked.size > MOST_UNANSWERED) this.#asked.delete(this.#asked.keys().next().value);
  }

  #answered(frame, now) {
    const asked = this.#asked.get(frame.id);
    if (!asked) return;
    this.#asked.delete(frame.id);
    frame.event = asked.event;
    frame.took = now - asked.at;
    frame.isPing = asked.isPing;
    if (asked.isPing && DOORS[this.settings.door].ping.echo) this.#echoes += 1;
  }

  #hearEcho(frame) {
    if (this.#echoes === 0 || frame.event !== DOORS[this.settings.door].ping.echo) return;
    this.#echoes -= 1;
    frame.isPing = true;
  }

  #connected() {
    this.emit("fact", { kind: "connected", ms: performance.now() - this.#openedAt });
    this.#become({ name: "connected", attempt: 0, delay: 0 });
  }

  #lost(error, { attempt, delay }) {
    this.emit("fact", { kind: "lost", message: error.message });
    this.#forget(error);
    this.#become({ name: "reconnecting", attempt, delay, error });
  }

  #forget(error) {
    this.#asked.clear();
    this.#echoes = 0;
    this.#namespace?.lose(error);
    this.emit("transport", "");
  }

  #become(state) {
    this.state = state;
    this.emit("state", state);
  }
}

/** The class of the WebSockets that a tester tries on its way up from polling. */
function watching(tester) {
  return function Watched(url) {
    return tester.watched(url);
  };
}

function plainUrl({ door, token, query }) {
  const url = new URL(door, location.origin);
  url.protocol = url.protocol.replace(/^http/, "ws");
  if (token) url.searchParams.set("access_token", token);
  return withQuery(url, query);
}

function withQuery(address, query) {
  const url = new URL(address);
  for (const [name, value] of new URLSearchParams(query)) url.searchParams.set(name, value);
  return url.href;
}
