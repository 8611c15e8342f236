import { backoffDelay } from "./backoff.js";
import { PubSubError } from "./errors.js";
import { decodeFrame, encodeFrame, PONG_FRAME } from "./socketio.js";

// A connection that lived shorter than this does not start the backoff over: a server that
// accepts and then drops at once must not be called in a tight loop.
const STABLE_MS = 5_000;

/**
 * One Engine.IO connection that is opened again for as long as it is wanted.
 *
 * The observer hears `linkOpened()`, `linkPacket(packet)`, `linkLost(error, {attempt, delay})`.
 * It answers `settled()` once it can use the connection; until then the connect timeout runs.
 */
export class Link {
  #options;
  #observer;
  #socket = null;
  #connectTimer;
  #silenceTimer;
  #retryTimer;
  #attempt = 0;
  #silence = 0;
  #settledAt = null;

  constructor(options, observer) {
    this.#options = options;
    this.#observer = observer;
  }

  /** Connects now, whatever was planned. */
  open() {
    const { WebSocket, url, clock, connectTimeout } = this.#options;
    this.#release();
    let socket;
    try {
      socket = new WebSocket(url);
    } catch (error) {
      this.#retry(new PubSubError("refused", error.message));
      return;
    }
    this.#socket = socket;
    this.#connectTimer = clock.setTimeout(
      () => this.drop(new PubSubError("timeout", `no answer within ${connectTimeout} ms`)),
      connectTimeout,
    );
    const current = (react) => (event) => {
      if (this.#socket === socket) react(event);
    };
    socket.onmessage = current((event) => this.#receive(event.data));
    socket.onclose = current((event) =>
      this.drop(new PubSubError("disconnected", closeReason(event))),
    );
    socket.onerror = () => {}; // says nothing, and a close always follows
  }

  send(packet) {
    this.#socket?.send(encodeFrame(packet, this.#options.json));
  }

  /** The connection works; the next loss starts with a short delay again. */
  settled() {
    this.#options.clock.clearTimeout(this.#connectTimer);
    this.#settledAt = this.#options.clock.now();
  }

  /** Gives the connection up and plans the next one. */
  drop(error) {
    if (!this.#socket) return;
    const lived = this.#settledAt === null ? 0 : this.#options.clock.now() - this.#settledAt;
    if (lived >= STABLE_MS) this.#attempt = 0;
    this.#release();
    this.#retry(error);
  }

  /** Ends it for good. */
  close() {
    this.#release();
  }

  #retry(error) {
    const { backoff, random, clock } = this.#options;
    this.#attempt += 1;
    const delay = backoffDelay(this.#attempt, backoff, random);
    this.#retryTimer = clock.setTimeout(() => this.open(), delay);
    this.#observer.linkLost(error, { attempt: this.#attempt, delay });
  }

  #release() {
    const { clock } = this.#options;
    for (const timer of [this.#connectTimer, this.#silenceTimer, this.#retryTimer]) {
      clock.clearTimeout(timer);
    }
    const socket = this.#socket;
    this.#socket = null;
    this.#settledAt = null;
    socket?.close(); // on a dead link the close event may take minutes; nobody waits for it
  }

  #receive(text) {
    let frame;
    try {
      frame = decodeFrame(text, this.#options.json);
    } catch (error) {
      this.drop(error);
      return;
    }
    if (frame.kind === "open") this.#opened(frame.data);
    else if (frame.kind === "ping") this.#ping();
    else if (frame.kind === "close") this.drop(new PubSubError("disconnected", "the server left"));
    else if (frame.namespace) this.#observer.linkPacket(frame);
  }

  #opened({ pingInterval, pingTimeout }) {
    this.#silence = pingInterval + pingTimeout;
    this.#expectPing();
    this.#observer.linkOpened();
  }

  #ping() {
    this.#socket.send(PONG_FRAME);
    this.#expectPing();
  }

  #expectPing() {
    const { clock } = this.#options;
    clock.clearTimeout(this.#silenceTimer);
    this.#silenceTimer = clock.setTimeout(
      () => this.drop(new PubSubError("disconnected", `silent for ${this.#silence} ms`)),
      this.#silence,
    );
  }
}

function closeReason({ code, reason }) {
  return reason ? `closed: ${reason} (${code})` : `closed (${code})`;
}
