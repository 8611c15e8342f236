import { backoffDelay } from "./backoff.js";
import { Emitter } from "./emitter.js";
import { errorFrom, PubSubError } from "./errors.js";

/**
 * One Socket.IO namespace: events in, events and acknowledged requests out.
 *
 * Its own events are `connect`, `disconnect` (with the error) and `connect_error`; every other
 * name is the server's, with the values it sent. After a `connect` the server knows nothing of
 * the connection before.
 */
export class Namespace extends Emitter {
  /** Whether the server has accepted this namespace on the present connection. */
  connected = false;
  #path;
  #transmit;
  #options;
  #pending = new Map();
  #lastId = 0;

  /**
   * @param {string} path
   * @param {(packet: object) => void} transmit
   * @param {{clock: object, requestTimeout: number, queueLimit: number, backoff?: object,
   *   random?: () => number}} options
   */
  constructor(path, transmit, options) {
    super();
    this.#path = path;
    this.#transmit = transmit;
    this.#options = options;
  }

  /** Sends an event without asking for an answer; nothing happens while not connected. */
  send(event, ...values) {
    if (this.connected) this.#packet({ kind: "event", data: [event, ...values] });
  }

  /**
   * Sends an event and waits for its acknowledgement. Sent at the next connect if there is no
   * connection now.
   *
   * @param {string} event
   * @param {any} [value] or a function that makes it at each sending
   * @param {{timeout?: number, resend?: boolean, passing?: string[],
   *   settle?: (answer: any) => void}} [how]
   *   `resend`: repeat it when the connection is lost before the answer, which is only right for
   *   requests that may be carried out twice; `passing`: codes of refusals after which it is
   *   repeated, later each time; `settle` hears a good answer before anything that the server
   *   sent after it
   * @returns {Promise<any>} rejects with a PubSubError: the server's, or `timeout`,
   *   `disconnected`, `queue_full`, `closed`
   */
  request(event, value, how = {}) {
    const { timeout = this.#options.requestTimeout, resend = false, passing = [], settle } = how;
    const { clock, queueLimit } = this.#options;
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      if (!this.connected && this.#pending.size >= queueLimit) {
        reject(new PubSubError("queue_full", `${queueLimit} requests wait already`, event));
        return;
      }
      const expire = () =>
        this.#fail(id, new PubSubError("timeout", `${event}: no answer in ${timeout} ms`, event));
      const timer = clock.setTimeout(expire, timeout);
      const deadline = clock.now() + timeout;
      const state = { timer, deadline, isSent: false, refusals: 0, again: undefined };
      const request = { event, value, resend, passing, settle, resolve, reject, ...state };
      this.#pending.set(id, request);
      if (this.connected) this.#dispatch(id, request);
    });
  }

  /** @internal */
  connect(auth) {
    this.#packet({ kind: "connect", data: auth ?? undefined });
  }

  /** @internal */
  receive({ kind, id, data }) {
    if (kind === "event") this.emit(...data);
    else if (kind === "ack") this.#answer(id, data[0]);
    else if (kind === "connect") this.#accepted();
    else if (kind === "disconnect") this.lose(new PubSubError("disconnected", "sent away"));
    else this.refuse(errorFrom(data, "refused"));
  }

  /** @internal The server does not let it in. */
  refuse(error) {
    this.end(error);
    this.emit("connect_error", error);
  }

  /** @internal The connection is gone: what may not be sent twice fails, the rest waits. */
  lose(error) {
    const wasConnected = this.connected;
    this.connected = false;
    for (const [id, request] of [...this.#pending]) {
      if (request.isSent && !request.resend) this.#fail(id, error);
      request.isSent = false;
    }
    if (wasConnected) this.emit("disconnect", error);
  }

  /** @internal Fails everything that waits. */
  end(error) {
    this.lose(error);
    for (const id of [...this.#pending.keys()]) this.#fail(id, error);
  }

  #accepted() {
    this.connected = true;
    this.emit("connect");
    for (const [id, request] of [...this.#pending]) {
      if (!request.isSent) this.#dispatch(id, request);
    }
  }

  #dispatch(id, request) {
    const value = typeof request.value === "function" ? request.value() : request.value;
    request.isSent = true;
    this.#options.clock.clearTimeout(request.again);
    const data = value === undefined ? [request.event] : [request.event, value];
    this.#packet({ kind: "event", id, data });
  }

  #answer(id, answer) {
    const request = this.#pending.get(id);
    if (!request) return; // it timed out before
    if (answer?.status === "error") {
      const error = errorFrom(answer, "invalid", request.event);
      if (!this.#repeats(id, request, error)) this.#fail(id, error);
    } else {
      this.#take(id);
      request.settle?.(answer);
      request.resolve(answer);
    }
  }

  /** Whether a refused request is sent again: later, or at once on the next connection. */
  #repeats(id, request, { code }) {
    if (!request.passing.includes(code)) return false;
    const { clock, backoff, random } = this.#options;
    request.refusals += 1;
    const delay = backoffDelay(request.refusals, backoff, random);
    if (clock.now() + delay >= request.deadline) return false;
    request.isSent = false;
    request.again = clock.setTimeout(() => this.connected && this.#dispatch(id, request), delay);
    return true;
  }

  #fail(id, error) {
    this.#take(id)?.reject(error);
  }

  #take(id) {
    const request = this.#pending.get(id);
    if (request) {
      this.#options.clock.clearTimeout(request.timer);
      this.#options.clock.clearTimeout(request.again);
    }
    this.#pending.delete(id);
    return request;
  }

  #packet(packet) {
    this.#transmit({ ...packet, namespace: this.#path });
  }
}
