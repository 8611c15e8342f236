import { backoffDelay } from "../client/backoff.js";
import { PubSubError } from "../client/errors.js";

const CONNECT_TIMEOUT_MS = 10_000;
const STABLE_MS = 5_000;

/** A plain WebSocket that is opened again for as long as it is wanted; observed as a {@link Link}. */
export class PlainLink {
  #open;
  #observer;
  #socket = null;
  #timer;
  #attempt = 0;
  #openedAt = null;

  /** @param {() => WebSocket} open makes a socket */
  constructor(open, observer) {
    this.#open = open;
    this.#observer = observer;
  }

  /** Connects now, whatever was planned. */
  open() {
    this.close();
    const socket = this.#open();
    this.#socket = socket;
    const isCurrent = () => this.#socket === socket;
    const late = new PubSubError("timeout", `no answer within ${CONNECT_TIMEOUT_MS} ms`);
    this.#timer = setTimeout(() => this.drop(late), CONNECT_TIMEOUT_MS);
    socket.onopen = () => {
      if (!isCurrent()) return;
      clearTimeout(this.#timer);
      this.#openedAt = performance.now();
      this.#observer.linkOpened();
    };
    socket.onmessage = ({ data }) => isCurrent() && this.#observer.linkPacket(data);
    socket.onclose = ({ code, reason }) => {
      if (isCurrent()) this.drop(new PubSubError("disconnected", reason ? `closed: ${reason} (${code})` : `closed (${code})`));
    };
  }

  send(text) {
    this.#socket?.send(text);
  }

  /** Gives the connection up and plans the next one. */
  drop(error) {
    if (!this.#socket) return;
    if (this.#openedAt !== null && performance.now() - this.#openedAt >= STABLE_MS) this.#attempt = 0;
    this.close();
    this.#attempt += 1;
    const delay = backoffDelay(this.#attempt);
    this.#timer = setTimeout(() => this.open(), delay);
    this.#observer.linkLost(error, { attempt: this.#attempt, delay });
  }

  /** Ends it for good. */
  close() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    this.#openedAt = null;
    socket?.close();
  }
}
