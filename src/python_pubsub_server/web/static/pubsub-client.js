/**
 * Client of python-pubsub-server for browsers and Node, over one WebSocket, without dependencies.
 *
 *     import { PubSubClient } from "/static/pubsub-client.js";
 *     const client = new PubSubClient(undefined, { consumer: "dashboard-1", token: fetchToken });
 *     client.channel("notifications:42").on("notification", ({ title }) => console.log(title));
 *     client.on("message", ({ topic, message }) => console.log(topic, message));
 *     await client.subscribe(["orders", "host:*"]);
 *     await client.publish({ topic: "orders", message: { id: 7 }, producer: "me" });
 *
 * It reconnects by itself, subscribes again, asks for what it missed, lets each message through
 * once and in order, and says ("unrecovered") when the server could not give all that was missed.
 */
import { argumentsOf, Channel, Channels, isMessage } from "./client/channel.js";
import { Credentials } from "./client/credentials.js";
import { Emitter } from "./client/emitter.js";
import { PubSubError } from "./client/errors.js";
import { Link } from "./client/link.js";
import { Namespace } from "./client/namespace.js";
import { randomUUID, socketUrl, systemClock } from "./client/platform.js";
import { Root } from "./client/root.js";
import { PASSING_REFUSALS, Subscriptions } from "./client/subscriptions.js";

export { Channel, Namespace, PubSubError };

// Refusals that the same credentials will meet again.
const FINAL_REFUSALS = ["unauthenticated", "forbidden", "token_expired"];

/**
 * @typedef {object} Options
 * @property {string} [consumer] who consumes: a lasting name, the server keeps account of it
 * @property {string | (() => string | Promise<string>)} [token] who this is. A function is asked
 *   at every connect, and before the token ends, so that the connection lives on
 * @property {object | (() => object | Promise<object>)} [auth] what else the handshake says; a
 *   function is asked at every connect
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
 * @property {string} [producer] who publishes, where `publish` does not say it; default: `consumer`
 * @property {() => number} [random] 0 ≤ x < 1, for the backoff
 * @property {{now: Function, setTimeout: Function, clearTimeout: Function}} [clock]
 * @property {() => number} [wallClock] Unix time in milliseconds
 */

/**
 * Connects at once, until `close()`.
 *
 * Events: `message` (topic, message_id, message, producer, timestamp, sequence, replayed?) ·
 * `notification`, `suggestion:vote`, `resource:update` (the content, then the whole message) ·
 * `received` (every message, whole, and the event that it came as) ·
 * `state` ({name, attempt, delay, error?}) · `subscribed` and `unsubscribed` (the server's
 * reports) · `unrecovered` ({topic, sequence, first, epoch}: messages of that topic are lost to
 * this client) · `error` (a PubSubError) · any other event of the server by its name.
 * What belongs to a topic is heard by its channel, too, if there is one.
 */
export class PubSubClient extends Emitter {
  /** Who consumes. Needed to subscribe and confirm; change it only while nothing is subscribed. */
  consumer;
  #state = { name: "connecting", attempt: 0, delay: 0 };
  #options;
  #link;
  #root;
  #namespaces = new Map();
  #channels = new Channels();
  #credentials;
  #subscriptions;
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
      wallClock: Date.now,
      resume: true,
      connectTimeout: 10_000,
      requestTimeout: 10_000,
      deliveryTimeout: 60_000,
      queueLimit: 1_000,
      ...options,
      url: socketUrl(url),
    };
    if (!this.#options.WebSocket) {
      throw new PubSubError("invalid", "no global WebSocket here, as in Node.js before 22: pass options.WebSocket, that of the package ws for one");
    }
    this.consumer = options.consumer;
    this.#link = new Link(this.#options, {
      linkOpened: () => this.#linkOpened(),
      linkPacket: (packet) => this.#namespaces.get(packet.namespace)?.receive(packet),
      linkLost: (error, next) => this.#linkLost(error, next),
    });
    this.#credentials = new Credentials(this.#options, {
      renew: (token) => this.#renew(token),
      renewalFailed: (error) => this.emit("error", asError(error)),
    });
    this.#subscriptions = new Subscriptions(this.#options, {
      consumer: () => this.consumer,
      isConnected: () => this.#root.connected,
      request: (...request) => this.#root.request(...request),
      drop: (error) => this.#link.drop(error),
      refused: (topic, error) => this.#topicRefused(topic, error),
    });
    this.#root = new Root(this.#transmit, this.#options, (...heard) => this.#hear(...heard));
    this.#namespaces.set("/", this.#root);
    this.#link.open();
  }

  /** `{name, attempt, delay, error?}`; name: connecting, connected, reconnecting, paused or closed. */
  get state() {
    return this.#state;
  }

  /** The topics and patterns that are subscribed, or will be at the next connect. */
  get topics() {
    return this.#subscriptions.topics;
  }

  /**
   * Where this client stands: with it another client goes on behind what this one was delivered,
   * after a page was opened anew for example: `other.subscribe(client.topics, client.place)`.
   */
  get place() {
    return this.#subscriptions.place;
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
  async subscribe(topics, { after, epoch } = {}) {
    const names = [topics].flat();
    if (this.consumer === undefined && names.length > 1) {
      const each = names.map((name) => this.subscribe(name, { after, epoch }));
      return merged(await Promise.all(each));
    }
    const { request, settle, fail } = this.#subscriptions.begin(names, { after, epoch });
    return this.#lasting("subscribe", request, { settle }).catch(fail);
  }

  /**
   * Ends subscriptions.
   * @param {string | string[]} [topics] as they were subscribed; missing: all
   */
  unsubscribe(topics) {
    const names = topics === undefined ? this.topics : [topics].flat();
    const settle = () => {
      this.#subscriptions.end(names);
      this.#channels.leave(names);
    };
    const request = topics === undefined ? {} : { topics: names };
    return this.#lasting("unsubscribe", request, { settle });
  }

  /**
   * A topic or pattern with listeners of its own, subscribed from now on; the same one each time.
   *
   *     const bell = client.channel("notifications:42");
   *     bell.on("notification", ({ title }) => show(title));
   *
   * @param {string} topic
   * @param {object} [from] where to start, as in `subscribe`; only the first call's counts
   * @returns {Channel}
   */
  channel(topic, from) {
    const make = () => new Channel(this, topic, () => this.subscribe(topic, from));
    return this.#channels.get(topic, make);
  }

  /**
   * Publishes; resolves once the server has committed the message. Without a connection it waits
   * for one, and a publish whose answer was lost, or that the server refused as `unavailable` or
   * `rate_limited`, is repeated under the same message_id, which the server stores once. After a
   * `timeout` it is unknown whether it was stored.
   *
   * @param {{topic: string, message: any, producer?: string, message_id?: string}} publication
   * @returns {Promise<{sequence: number, timestamp: number, duplicate: boolean}>}
   */
  publish({ topic, message_id = randomUUID(), message, producer = this.#options.producer }) {
    if (message === undefined) {
      return Promise.reject(new PubSubError("invalid", "`message` is missing", "publish"));
    }
    producer ??= this.consumer;
    const publication = { topic, message_id, message, producer };
    return this.#lasting("publish", publication, { passing: PASSING_REFUSALS });
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

  /**
   * Goes on with another token of the same user: on the connection that there is, or else with
   * the next one, at once. With another user's token it connects anew.
   * @param {string | (() => string | Promise<string>)} [token] missing: the function of the
   *   options is asked again
   * @returns {Promise<void>} rejects with a PubSubError when the server refuses the token
   */
  async refresh(token) {
    if (token !== undefined) this.#credentials.replace(token);
    if (this.#root.connected) await this.#credentials.renew();
    else this.reconnect();
  }

  /** Drops the connection, if there is one, and connects now instead of after the delay. */
  reconnect() {
    if (this.#state.name === "closed") return;
    this.#link.drop(new PubSubError("disconnected", "reconnecting on request"));
    if (this.#state.name === "paused") this.#become({ name: "connecting", attempt: 0, delay: 0 });
    this.#link.open();
  }

  /**
   * Drops the connection, if there is one, and stays away until `reconnect` or `refresh`: where it
   * is known that the server will not let it in before. What waits goes on waiting.
   */
  pause() {
    if (this.#state.name !== "closed") this.#leave("paused", new PubSubError("disconnected", "paused"));
  }

  /** Ends the connection for good; what waits for an answer rejects with the code `closed`. */
  close() {
    this.#end(new PubSubError("closed", "the client was closed"));
  }

  #hear(event, ...values) {
    if (event === "connect") this.#connected();
    else if (event === "disconnect") this.#link.drop(values[0]);
    else if (event === "connect_error") this.#refused(values[0]);
    else if (event === "subscribed") this.#subscribed(values[0]);
    else if (event === "error") this.emit("error", asError(values[0]));
    else if (isMessage(event)) this.#deliver(event, values[0]);
    else this.emit(event, ...values);
  }

  /** A message of a topic, as the event that the topic has for it. */
  #deliver(event, message) {
    if (!this.#subscriptions.accepts(message)) return;
    const values = argumentsOf(event, message);
    this.emit(event, ...values);
    this.emit("received", message, event);
    this.#channels.tell(message.topic, event, ...values);
  }

  #linkOpened() {
    this.#connection += 1;
    this.#authenticate([...this.#namespaces.values()]);
  }

  async #authenticate(namespaces) {
    const connection = this.#connection;
    let auth;
    try {
      auth = await this.#credentials.ask();
    } catch (error) {
      if (connection !== this.#connection) return;
      this.#link.drop(new PubSubError("unauthenticated", `auth failed: ${error.message}`));
      return;
    }
    if (connection !== this.#connection) return; // another one was opened meanwhile
    for (const namespace of namespaces) namespace.connect(auth);
  }

  #connected() {
    this.#link.settled();
    this.#become({ name: "connected", attempt: 0, delay: 0 });
    this.#subscriptions.resume();
  }

  #linkLost(error, { attempt, delay }) {
    this.#connection += 1;
    this.#credentials.stop();
    this.#subscriptions.suspend();
    this.#become({ name: "reconnecting", attempt, delay, error });
    for (const namespace of this.#namespaces.values()) namespace.lose(error);
  }

  #refused(error) {
    this.emit("error", error);
    const isFinal = FINAL_REFUSALS.includes(error.code) && !this.#credentials.canChange;
    if (isFinal) this.#end(error);
    else this.#link.drop(error);
  }

  /** Tells the server of a newer token, wherever this client is known by one. */
  async #renew(token) {
    const known = [...this.#namespaces.values()].filter((namespace) => namespace.connected);
    try {
      await Promise.all(known.map((namespace) => namespace.request("refresh", { token })));
    } catch (error) {
      // The token may not go on here (another user's, for example), but it may come in anew.
      if (error.code === "forbidden") this.#link.drop(error);
      if (error.code !== "invalid") throw error; // a server that knows no tokens
    }
  }

  #leave(name, error) {
    this.#link.close();
    this.#credentials.stop();
    this.#connection += 1;
    this.#become({ name, attempt: 0, delay: 0, error });
    for (const namespace of this.#namespaces.values()) namespace.lose(error);
  }

  #end(error) {
    this.#leave("closed", error);
    for (const namespace of this.#namespaces.values()) namespace.end(error);
  }

  #become(state) {
    this.#state = state;
    this.emit("state", state);
  }

  /** A request that is repeated after a lost connection. */
  #lasting(event, value, how) {
    if (this.#state.name === "closed") {
      return Promise.reject(new PubSubError("closed", "the client was closed", event));
    }
    const timeout = this.#options.deliveryTimeout;
    return this.#root.request(event, value, { timeout, resend: true, ...how });
  }

  /** The server lets this client have a topic no more. */
  #topicRefused(topic, error) {
    this.#channels.tellOwn(topic, "error", error);
    this.#channels.leave([topic]);
    this.emit("error", error);
  }

  #subscribed(report) {
    this.#subscriptions.confirm(report);
    this.emit("subscribed", report);
    for (const row of report.topics) this.#channels.tellOwn(row.topic, "subscribed", row);
    for (const row of report.topics.flatMap((row) => row.topics ?? [row])) {
      if (row.recovered) continue;
      const lost = { ...row, epoch: report.epoch };
      this.emit("unrecovered", lost);
      this.#channels.tell(row.topic, "unrecovered", lost);
    }
  }
}

/** One report of several. */
function merged(reports) {
  return { ...reports[0], topics: reports.flatMap(({ topics }) => topics) };
}

function asError(value) {
  return value instanceof PubSubError
    ? value
    : new PubSubError(value?.code ?? "invalid", value?.message ?? String(value), value?.event);
}
