/**
 * Engine.IO 4 over HTTP long polling, for where no WebSocket comes through.
 * https://socket.io/docs/v4/engine-io-protocol/#http-long-polling
 */
const SEPARATOR = "\x1e";
const POST_TIMEOUT_MS = 20_000;
const LONGEST_REASON = 200;

/**
 * One connection, with as much of a WebSocket's interface as a {@link Link} needs: `onmessage`,
 * `onclose`, `send`, `close`; its packets are those that a WebSocket would carry.
 */
export class PollingSocket {
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  #url;
  #fetch;
  #onRequest;
  #now;
  #outbox = [];
  #posting = null;
  #idle = null; // resolves a pause
  #isPaused = false;
  #isEnded = false;
  #abort = new AbortController();

  /**
   * @param {string} url of the Socket.IO endpoint, ws(s) or http(s)
   * @param {{fetch?: typeof fetch, now?: () => number, onRequest?: (request: object) => void}} [options]
   *   `onRequest` hears of each HTTP request when it is over: `{method, isHandshake, status, ms,
   *   sent, received, type, server, via, error}`; `ms` is until its last byte
   */
  constructor(url, { fetch = (...all) => globalThis.fetch(...all), now = () => performance.now(), onRequest = () => {} } = {}) {
    this.#url = pollingUrl(url);
    this.#fetch = fetch;
    this.#now = now;
    this.#onRequest = onRequest;
    queueMicrotask(() => this.#run()); // when whoever made it listens
  }

  /** The id that the server gave this connection; null before. */
  get id() {
    return this.#url.searchParams.get("sid");
  }

  /** Sends a packet, together with those that wait for the request before. */
  send(packet) {
    if (this.#isEnded) return;
    this.#outbox.push(packet);
    this.#posting ??= this.#post();
  }

  /** Stops asking; resolves when nothing is under way any more. */
  async pause() {
    this.#isPaused = true;
    await new Promise((resolve) => (this.#idle = resolve));
    await this.#posting;
  }

  close() {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#abort.abort();
    if (!this.id) return;
    const signal = AbortSignal.timeout(POST_TIMEOUT_MS);
    // It is over for this side whatever becomes of the goodbye.
    this.#fetch(this.#url, { method: "POST", body: "1", signal, keepalive: true }).catch(() => {});
  }

  /** Ends it without a word: another transport goes on with it. */
  leave() {
    this.#isEnded = true;
    this.#abort.abort();
  }

  async #run() {
    try {
      while (!this.#isEnded && !this.#isPaused) {
        const text = await this.#request("GET");
        for (const packet of text.split(SEPARATOR)) this.#hear(packet);
      }
      this.#idle?.();
    } catch (error) {
      this.#fail(error);
    }
  }

  #hear(packet) {
    if (this.#isEnded) return;
    const isHandshake = !this.id;
    if (isHandshake) this.#url.searchParams.set("sid", sessionOf(packet));
    if (isHandshake) this.onopen?.({});
    this.onmessage?.({ data: packet });
  }

  async #post() {
    try {
      while (this.#outbox.length && !this.#isEnded) {
        await this.#request("POST", this.#outbox.splice(0).join(SEPARATOR));
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#posting = null;
    }
  }

  async #request(method, body) {
    const started = this.#now();
    const isHandshake = !this.id;
    const fact = { method, isHandshake, sent: body?.length ?? 0, received: 0, status: null };
    const signals = [this.#abort.signal, ...(method === "POST" ? [AbortSignal.timeout(POST_TIMEOUT_MS)] : [])];
    try {
      const answer = await this.#fetch(this.#url, { method, body, cache: "no-store", signal: AbortSignal.any(signals) });
      const text = await answer.text();
      fact.status = answer.status;
      fact.received = text.length;
      for (const [name, header] of [["type", "Content-Type"], ["server", "Server"], ["via", "Via"]]) {
        fact[name] = answer.headers.get(header) ?? "";
      }
      if (answer.ok) return text;
      fact.error = messageOf(text) || `HTTP ${answer.status}`;
      throw new Error(`HTTP ${answer.status}: ${fact.error}`);
    } catch (error) {
      fact.error ??= error.message;
      throw error;
    } finally {
      if (!this.#isEnded) this.#onRequest({ ...fact, ms: this.#now() - started });
    }
  }

  #fail(error) {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#abort.abort();
    this.#idle?.();
    this.onclose?.({ code: 1006, reason: error.message.slice(0, LONGEST_REASON) });
  }
}

/** The address of the polling requests of an endpoint. */
export function pollingUrl(url) {
  const target = new URL(url);
  target.protocol = target.protocol.replace(/^ws/, "http");
  target.searchParams.set("transport", "polling");
  return target;
}

function sessionOf(packet) {
  const sid = packet[0] === "0" ? readJSON(packet.slice(1))?.sid : undefined;
  if (typeof sid !== "string") throw new Error(`this is not Engine.IO: ${packet.slice(0, 80)}`);
  return sid;
}

/** What an error of the server says; nothing of a proxy's page. */
function messageOf(text) {
  const body = readJSON(text);
  return typeof body === "string" ? body : (body?.message ?? "");
}

function readJSON(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
