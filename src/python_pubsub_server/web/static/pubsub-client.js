/**
 * Client of python-pubsub-server for browsers and Node, over one WebSocket, without dependencies.
 *
 *     import { PubSubClient } from "/static/pubsub-client.js";
 *     const client = new PubSubClient(undefined, { consumer: "dashboard-1" });
 *     client.on("message", ({ topic, message }) => console.log(topic, message));
 *     await client.subscribe(["notifications", "host:*"]);
 *     await client.publish({ topic: "notifications", message: { hi: 1 }, producer: "me" });
 *
 * It reconnects by itself, subscribes again, asks for what it missed, lets each message through
 * once and in order, and says ("unrecovered") when the server could not give all that was missed.
 */
import { Emitter } from "./client/emitter.js";
import { PubSubError } from "./client/errors.js";
import { Inbox, isPattern } from "./client/inbox.js";
import { Link } from "./client/link.js";
import { Namespace } from "./client/namespace.js";
import { randomUUID, socketUrl, systemClock } from "./client/platform.js";

export { Namespace, PubSubError };

// Refusals that the same credentials will meet again.
const FINAL_REFUSALS = ["unauthenticated", "forbidden", "token_expired"];
// Refusals that pass by themselves.
const PASSING_FAILURES = ["timeout", "unavailable", "rate_limited"];

/**
 * @typedef {object} Options
 * @property {string} [consumer] who consumes: a lasting name, the server keeps account of it
 * @property {object | (() => object | Promise<object>)} [auth] handshake credentials such as
 *   `{token}`; a function is asked at every connect
 * @property {typeof WebSocket} [WebSocket] where there is no global one (Node 20)
 * @property {{base?: number, max?: number}} [backoff] milliseconds, default 500 and 15,000
 * @property {boolean} [resume] ask for missed messages after a reconnect, default true
 * @property {number} [connectTimeout] milliseconds, default 10,000
 * @property {number} [requestTimeout] milliseconds, default 10,000
 * @property {number} [deliveryTimeout] milliseconds for what is sent again after a lost
 *   connection (subscribe, unsubscribe, publish, consumed), default 60,000; keep it under the
 *   server's deduplication window, or a late repetition of a publish is stored twice
 * @property {number} [queueLimit] requests that may wait for a connection, default 1,000
 * @property {{parse: Function, stringify: Function}} [json] in place of `JSON`
 * @property {() => number} [random] 0 ≤ x < 1, for the backoff
 * @property {{now: Function, setTimeout: Function, clearTimeout: Function}} [clock]
 */

/**
 * Connects at once, until `close()`.
 *
 * Events: `message` (topic, message_id, message, producer, timestamp, sequence, replayed?) ·
 * `state` ({name, attempt, delay, error?}) · `subscribed` and `unsubscribed` (the server's
 * reports) · `unrecovered` ({topic, sequence, first, epoch}: messages of that topic are lost to
 * this client) · `error` (a PubSubError) · any other event of the server by its name.
 */
export class PubSubClient extends Emitter {
  /** Who consumes. Needed to subscribe and confirm; change it only while nothing is subscribed. */
  consumer;
  #state = { name: "connecting", attempt: 0, delay: 0 };
  #options;
  #link;
  #root;
  #namespaces = new Map();
  #inbox = new Inbox();
  #wanted = new Set();
  #connection = 0;
  #transmit = (packet) => this.#link.send(packet);

  /**
   * @param {string | URL} [url] the server's, http(s) or ws(s); in a page: the page's origin
   * @param {Options} [options]
   */
  constructor(url = globalThis.location?.origin, options = {}) {
    super();
    this.#options = {
      WebSocket: globalThis.WebSocket,
      random: Math.random,
      clock: systemClock,
      json: JSON,
      resume: true,
      connectTimeout: 10_000,
      requestTimeout: 10_000,
      deliveryTimeout: 60_000,
      queueLimit: 1_000,
      ...options,
      url: socketUrl(url),
    };
    if (!this.#options.WebSocket) {
      throw new PubSubError("invalid", "no global WebSocket here: pass options.WebSocket");
    }
    this.consumer = options.consumer;
    this.#link = new Link(this.#options, {
      linkOpened: () => this.#linkOpened(),
      linkPacket: (packet) => this.#namespaces.get(packet.namespace)?.receive(packet),
      linkLost: (error, next) => this.#linkLost(error, next),
    });
    this.#root = new Root(this.#transmit, this.#options, (...heard) => this.#hear(...heard));
    this.#namespaces.set("/", this.#root);
    this.#link.open();
  }

  /** `{name, attempt, delay, error?}`; name: connecting, connected, reconnecting or closed. */
  get state() {
    return this.#state;
  }

  /** The topics and patterns that are subscribed, or will be at the next connect. */
  get topics() {
    return [...this.#wanted];
  }

  /**
   * Subscribes to topics and patterns (`*`, `prefix*`), for good: again after each reconnect.
   *
   * @param {string | string[]} topics
   * @param {{after?: number | "beginning" | "consumed" | Record<string, any>, epoch?: string}}
   *   [from] where to start; without it: with new messages only. `epoch` is that of the sequences.
   * @returns {Promise<object>} the server's report: `{epoch, consumer, topics: [{topic, sequence,
   *   first, replayed, recovered}]}`
   */
  subscribe(topics, { after, epoch } = {}) {
    const names = [topics].flat();
    if (after !== undefined) this.#inbox.forget(names);
    const settle = () => {
      for (const name of names) this.#wanted.add(name);
    };
    let isRepeated = false; // then it goes on behind what was delivered before the answer was lost
    const request = () => {
      const positions = isRepeated ? this.#inbox.positions(names) : {};
      isRepeated = true;
      return this.#subscription(names, positions, after, epoch);
    };
    return this.#lasting("subscribe", request, settle);
  }

  /**
   * Ends subscriptions.
   * @param {string | string[]} [topics] as they were subscribed; missing: all
   */
  unsubscribe(topics) {
    const names = topics === undefined ? this.topics : [topics].flat();
    const settle = () => {
      for (const name of names) this.#wanted.delete(name);
      this.#inbox.forget(names, this.topics);
    };
    const request = topics === undefined ? {} : { topics: names };
    return this.#lasting("unsubscribe", request, settle);
  }

  /**
   * Publishes; resolves once the server has committed the message. Without a connection it waits
   * for one, and a publish whose answer was lost is repeated under the same message_id, which the
   * server stores once. After a `timeout` it is unknown whether it was stored.
   *
   * @param {{topic: string, message: any, producer: string, message_id?: string}} publication
   * @returns {Promise<{sequence: number, timestamp: number, duplicate: boolean}>}
   */
  publish({ topic, message_id = randomUUID(), message, producer }) {
    if (message === undefined) {
      return Promise.reject(new PubSubError("invalid", "`message` is missing", "publish"));
    }
    return this.#lasting("publish", { topic, message_id, message, producer });
  }

  /**
   * Confirms that this consumer processed a message; a repeat is counted once.
   * @param {{topic: string, message_id: string, sequence?: number}} message
   */
  consumed({ topic, message_id, sequence }) {
    return this.#lasting("consumed", { consumer: this.consumer, topic, message_id, sequence });
  }

  /**
   * Any other request of the protocol (`history`, `presence`, …); see {@link Namespace#request}.
   * @returns {Promise<any>} the acknowledgement
   */
  request(event, data, how) {
    return this.#root.request(event, data, how);
  }

  /**
   * Another namespace (`/monitoring`, `/chat`, …) on the same connection, the same one each time.
   * One that the server refused or ended is asked for again at the next connection.
   * @param {string} path
   * @returns {Namespace}
   */
  namespace(path) {
    if (path === "/") throw new PubSubError("invalid", "the namespace / is the client itself");
    const existing = this.#namespaces.get(path);
    if (existing) return existing;
    const namespace = new Namespace(path, this.#transmit, this.#options);
    this.#namespaces.set(path, namespace);
    if (this.#root.connected) this.#authenticate([namespace]);
    return namespace;
  }

  /** Drops the connection, if there is one, and connects now instead of after the delay. */
  reconnect() {
    if (this.#state.name === "closed") return;
    this.#link.drop(new PubSubError("disconnected", "reconnecting on request"));
    this.#link.open();
  }

  /** Ends the connection for good; what waits for an answer rejects with the code `closed`. */
  close() {
    this.#end(new PubSubError("closed", "the client was closed"));
  }

  #hear(event, ...values) {
    if (event === "connect") this.#connected();
    else if (event === "disconnect") this.#link.drop(values[0]);
    else if (event === "connect_error") this.#refused(values[0]);
    else if (event === "message") this.#deliver(values[0]);
    else if (event === "subscribed") this.#subscribed(values[0]);
    else if (event === "error") this.emit("error", asError(values[0]));
    else this.emit(event, ...values);
  }

  #linkOpened() {
    this.#connection += 1;
    this.#authenticate([...this.#namespaces.values()]);
  }

  async #authenticate(namespaces) {
    const connection = this.#connection;
    let auth = this.#options.auth;
    try {
      if (typeof auth === "function") auth = await auth();
    } catch (error) {
      this.#link.drop(new PubSubError("unauthenticated", `auth failed: ${error.message}`));
      return;
    }
    if (connection !== this.#connection) return; // another one was opened meanwhile
    for (const namespace of namespaces) namespace.connect(auth);
  }

  #connected() {
    this.#link.settled();
    this.#become({ name: "connected", attempt: 0, delay: 0 });
    if (this.#wanted.size) this.#resume(this.topics);
  }

  #linkLost(error, { attempt, delay }) {
    this.#connection += 1;
    this.#become({ name: "reconnecting", attempt, delay, error });
    for (const namespace of this.#namespaces.values()) namespace.lose(error);
  }

  #refused(error) {
    this.emit("error", error);
    const isFinal = FINAL_REFUSALS.includes(error.code) && typeof this.#options.auth !== "function";
    if (isFinal) this.#end(error);
    else this.#link.drop(error);
  }

  #end(error) {
    this.#link.close();
    this.#connection += 1;
    this.#become({ name: "closed", attempt: 0, delay: 0, error });
    for (const namespace of this.#namespaces.values()) namespace.end(error);
  }

  #become(state) {
    this.#state = state;
    this.emit("state", state);
  }

  /** A request that is repeated after a lost connection. */
  #lasting(event, value, settle) {
    if (this.#state.name === "closed") {
      return Promise.reject(new PubSubError("closed", "the client was closed", event));
    }
    const timeout = this.#options.deliveryTimeout;
    return this.#root.request(event, value, { timeout, resend: true, settle });
  }

  /** Subscribes again to what was subscribed on the connection before. */
  #resume(topics) {
    const positions = this.#options.resume ? this.#startsOf(topics) : {};
    const timeout = this.#options.deliveryTimeout; // the answer comes behind all that was missed
    this.#root
      .request("subscribe", this.#subscription(topics, positions), { timeout })
      .catch((error) => this.#resumeFailed(topics, error));
  }

  /** Where topics go on. What came to a pattern since is new from its beginning. */
  #startsOf(topics) {
    const patterns = topics.filter(isPattern);
    return { ...everywhere(patterns, "beginning"), ...this.#inbox.positions(topics) };
  }

  #resumeFailed(topics, error) {
    if (!this.#root.connected) return; // the next connection tries again
    if (PASSING_FAILURES.includes(error.code)) {
      this.#link.drop(error);
    } else if (topics.length > 1) {
      // One refused topic refuses them all; find out which.
      for (const topic of topics) this.#resume([topic]);
    } else {
      this.#wanted.delete(topics[0]);
      this.emit("error", error);
    }
  }

  /** The body of a subscribe: a topic goes on behind its position, any other starts at `after`. */
  #subscription(topics, positions, after, epoch = this.#inbox.epoch) {
    const request = { consumer: this.consumer, topics };
    if (Object.keys(positions).length) {
      const start = typeof after === "object" ? after : everywhere(topics, after);
      request.after = { ...start, ...positions };
    } else if (after !== undefined) {
      request.after = after;
    }
    if (request.after !== undefined && epoch) request.epoch = epoch;
    return request;
  }

  #subscribed(report) {
    this.#inbox.confirm(report);
    this.emit("subscribed", report);
    for (const row of report.topics.flatMap((row) => row.topics ?? [row])) {
      if (!row.recovered) this.emit("unrecovered", { ...row, epoch: report.epoch });
    }
  }

  #deliver(message) {
    if (this.#inbox.accepts(message)) this.emit("message", message);
  }
}

/** The namespace `/`, whose events the client hears in place of listeners. */
class Root extends Namespace {
  #hear;

  constructor(transmit, options, hear) {
    super("/", transmit, options);
    this.#hear = hear;
  }

  emit(event, ...values) {
    this.#hear(event, ...values);
  }

  /** What waits goes on waiting: the client decides whether to try again. */
  refuse(error) {
    this.#hear("connect_error", error);
  }
}

function everywhere(topics, after) {
  return after === undefined ? {} : Object.fromEntries(topics.map((topic) => [topic, after]));
}

function asError(value) {
  return value instanceof PubSubError
    ? value
    : new PubSubError(value?.code ?? "invalid", value?.message ?? String(value), value?.event);
}
