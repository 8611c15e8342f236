/**
 * Engine.IO as browsers' official clients speak it: long polling at once, and a WebSocket in its
 * place as soon as one answers.
 * https://socket.io/docs/v4/engine-io-protocol/#upgrade
 */
import { PollingSocket } from "./polling.js";

const PROBE = "2probe";
const PROBED = "3probe";
const UPGRADE = "5";
const PROBE_TIMEOUT_MS = 10_000;

/** One connection with a WebSocket's interface; where no WebSocket comes through, it goes on polling. */
export class UpgradingSocket {
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  #url;
  #options;
  #polling;
  #websocket = null; // while it is tried, and from then on
  #isUpgraded = false;
  #isEnded = false;
  #waiting = null; // packets to send, between the transports
  #timer;

  /**
   * @param {string} url of the endpoint, ws(s)
   * @param {{WebSocket?: typeof WebSocket, fetch?: typeof fetch, now?: () => number,
   *   onRequest?: (request: object) => void, onUpgrade?: (step: object) => void}} [options]
   *   `onUpgrade` hears `{isDone, ms, reason}` once
   */
  constructor(url, options = {}) {
    this.#url = url;
    this.#options = { WebSocket: globalThis.WebSocket, now: () => performance.now(), onUpgrade: () => {}, ...options };
    this.#polling = new PollingSocket(url, options);
    this.#polling.onopen = (event) => this.onopen?.(event);
    this.#polling.onmessage = (event) => this.#polled(event);
    this.#polling.onclose = (event) => this.#end(event);
  }

  /** polling or websocket */
  get transport() {
    return this.#isUpgraded ? "websocket" : "polling";
  }

  send(packet) {
    if (this.#waiting) this.#waiting.push(packet);
    else (this.#isUpgraded ? this.#websocket : this.#polling).send(packet);
  }

  close() {
    if (this.#isEnded) return;
    this.#isEnded = true;
    clearTimeout(this.#timer);
    if (this.#websocket) this.#websocket.close();
    if (!this.#isUpgraded) this.#polling.close();
  }

  #polled(event) {
    const isOpening = !this.#websocket && event.data[0] === "0";
    this.onmessage?.(event);
    if (isOpening && !this.#isEnded && JSON.parse(event.data.slice(1)).upgrades?.includes("websocket")) this.#probe();
  }

  #probe() {
    const { WebSocket, now } = this.#options;
    const started = now();
    const target = new URL(this.#url);
    target.searchParams.set("transport", "websocket");
    target.searchParams.set("sid", this.#polling.id);
    const socket = new WebSocket(target.href);
    this.#websocket = socket;
    const fail = (reason) => {
      clearTimeout(this.#timer);
      socket.onmessage = socket.onclose = null;
      socket.close();
      this.#options.onUpgrade({ isDone: false, ms: now() - started, reason });
    };
    this.#timer = setTimeout(() => fail(`no answer in ${PROBE_TIMEOUT_MS / 1000} s`), PROBE_TIMEOUT_MS);
    socket.onopen = () => socket.send(PROBE);
    socket.onmessage = ({ data }) => {
      if (data === PROBED) this.#change(socket, () => now() - started);
      else fail("the probe was answered with something else");
    };
    socket.onclose = ({ code }) => fail(`closed (${code})`);
  }

  async #change(socket, elapsed) {
    clearTimeout(this.#timer);
    this.#waiting = [];
    socket.onmessage = (event) => this.onmessage?.(event);
    socket.onclose = (event) => this.#end(event);
    await this.#polling.pause();
    if (this.#isEnded) return;
    this.#polling.leave();
    this.#isUpgraded = true;
    for (const packet of [UPGRADE, ...this.#waiting]) socket.send(packet);
    this.#waiting = null;
    this.#options.onUpgrade({ isDone: true, ms: elapsed(), reason: "" });
  }

  #end(event) {
    if (this.#isEnded) return;
    this.close();
    this.onclose?.(event);
  }
}
