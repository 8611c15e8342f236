/**
 * What the facts of connections say about what is between the browser and the server. No I/O.
 *
 * A check is `{name, state, ms?, text, values}`; state: unknown, good, warn, bad. A hint is
 * `{name, text, values, config?}`. Texts are in English.
 */
const SLOW_MS = 2_000;
const PING_SECONDS = 25; // how long a connection of the server may be silent before its ping
const NGINX = {
  upgrade: `proxy_http_version 1.1;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection "upgrade";`,
  buffering: `proxy_buffering off;
gzip off;`,
  timeout: `proxy_read_timeout 1h;
proxy_send_timeout 1h;`,
  path: `location / { proxy_pass http://127.0.0.1:5000; }`,
  size: `client_max_body_size 20m;`,
  sticky: `upstream pubsub { ip_hash; server 10.0.0.1:5000; server 10.0.0.2:5000; }`,
};
export const CHECKS = ["http", "polling", "websocket", "upgrade", "stream", "idle"];

/** Collects facts; the newest of a kind counts. */
export class Diagnosis {
  #checks = new Map(CHECKS.map((name) => [name, { name, state: "unknown", text: "Not tried yet.", values: {} }]));
  #hints = new Map(); // name → hint; once seen, it stays until the same way works
  #longestSilence = 0;

  get checks() {
    return [...this.#checks.values()];
  }

  get hints() {
    return [...this.#hints.values()];
  }

  add(fact) {
    const read = READERS[fact.kind];
    if (read) read(this, fact);
  }

  /** @internal */
  check(name, state, text, values = {}) {
    this.#checks.set(name, { name, state, text, values });
  }

  /** @internal */
  hint(name, text, values = {}) {
    this.#hints.set(name, { name, text, values, config: NGINX[name] });
  }

  /** @internal */
  solved(...names) {
    for (const name of names) this.#hints.delete(name);
  }

  /** @internal */
  silence(ms) {
    if (ms <= this.#longestSilence) return;
    this.#longestSilence = ms;
    if (ms < 1_000) return;
    this.check("idle", "good", "The longest silence so far was {seconds} s, and the connection lived on.", { seconds: seconds(ms) });
  }
}

const READERS = {
  http(diagnosis, { ms, status, error, protocol, via }) {
    if (status !== null && status < 500 && !error) {
      const by = [protocol, via].filter(Boolean).join(", ");
      diagnosis.check("http", ms > SLOW_MS ? "warn" : "good", by ? "Answered in {ms} ms ({by})." : "Answered in {ms} ms.", { ms: whole(ms), by });
      return diagnosis.solved("away");
    }
    diagnosis.check("http", "bad", "{error}", { error: error ?? `HTTP ${status}` });
    away(diagnosis, status);
  },

  request(diagnosis, request) {
    if (request.error) return refused(diagnosis, request);
    diagnosis.solved("away", "path", "sticky");
    if (!request.isHandshake) return;
    diagnosis.check("polling", "good", "The handshake took {ms} ms.", { ms: whole(request.ms) });
    const by = [request.server, request.via].filter(Boolean).join(", ");
    diagnosis.check("http", "good", by ? "Answered in {ms} ms ({by})." : "Answered in {ms} ms.", { ms: whole(request.ms), by });
  },

  websocket(diagnosis, { state, ms, lived, idle, code, wasClean }) {
    if (state === "open") {
      diagnosis.check("websocket", "good", "Opened in {ms} ms.", { ms: whole(ms) });
      return diagnosis.solved("upgrade");
    }
    if (state === "failed") {
      diagnosis.check("websocket", "bad", "It did not open ({code}).", { code });
      return diagnosis.hint(
        "upgrade",
        "No WebSocket comes through. A proxy has to pass the headers Upgrade and Connection on, with HTTP/1.1. If nothing is between, the server refused: its log says why.",
      );
    }
    if (wasClean || code !== 1006) return;
    if (idle >= 5_000) {
      const values = { idle: seconds(idle), lived: seconds(lived) };
      diagnosis.check("idle", "bad", "It was cut off after {idle} s of silence.", values);
      diagnosis.hint(
        "timeout",
        "A connection was cut off after {idle} s without a byte. Something between has a time limit shorter than the server's ping, which comes every {ping} s: raise it.",
        { ...values, ping: PING_SECONDS },
      );
    } else {
      diagnosis.hint("cut", "A WebSocket was cut off after {lived} s without a goodbye: the server was stopped, the network changed, or a proxy was restarted.", { lived: seconds(lived) });
    }
  },

  upgrade(diagnosis, { isDone, ms, reason }) {
    if (isDone) {
      diagnosis.check("upgrade", "good", "From polling to WebSocket in {ms} ms.", { ms: whole(ms) });
      return diagnosis.solved("upgrade");
    }
    diagnosis.check("upgrade", "bad", "It stays with polling: {reason}.", { reason });
    diagnosis.hint(
      "upgrade",
      "Polling works, WebSockets do not: a proxy does not pass the headers Upgrade and Connection on, or speaks HTTP/1.0 to the server.",
    );
  },

  stream(diagnosis, { isDone, ms, error }) {
    if (isDone) {
      diagnosis.check("stream", ms > SLOW_MS ? "warn" : "good", "The first bytes came after {ms} ms.", { ms: whole(ms) });
      if (ms > SLOW_MS) buffered(diagnosis);
      else diagnosis.solved("buffering");
      return;
    }
    diagnosis.check("stream", "bad", "{error}", { error });
    if (error.startsWith("no bytes")) buffered(diagnosis);
  },

  frame: (diagnosis, { silent }) => diagnosis.silence(silent),

  connected: (diagnosis) => diagnosis.solved("refused", "away"),

  refused: (diagnosis, { code, message }) =>
    diagnosis.hint("refused", "The server itself refused: {message} ({code}). No proxy is to blame.", { code, message }),
};

/** A polling request that failed. */
function refused(diagnosis, { isHandshake, status, ms, error, type, method }) {
  diagnosis.check("polling", "bad", "{error}", { error: status === null || error.startsWith("HTTP") ? error : `HTTP ${status}: ${error}` });
  if (status === null && !isHandshake && method === "GET" && ms > 5_000) return idle(diagnosis, ms);
  if (status === null || status === 502 || status === 503) return away(diagnosis, status);
  if (status === 504 || status === 408) return idle(diagnosis, ms);
  if (status === 413) {
    return diagnosis.hint("size", "A proxy refused the size of a message (413). The server's own limit is PUBSUB_MAX_MESSAGE_BYTES, 1 MiB.");
  }
  if (status === 404 || (isHandshake && type?.startsWith("text/html"))) {
    return diagnosis.hint("path", "Something else answers at /socket.io/: the proxy does not pass this path to the server.");
  }
  if (status === 400 && !isHandshake) {
    return diagnosis.hint("sticky", "The server does not know the session that it began: with several nodes, all requests of one client must come to the same node, or clients must use WebSockets only.");
  }
  diagnosis.hint("refused", "The server itself refused: {message} ({code}). No proxy is to blame.", { message: error, code: status });
}

function away(diagnosis, status) {
  if (status === null) return diagnosis.hint("away", "Nothing answers at all: is the server running, and does the proxy know where?");
  diagnosis.hint("away", "The proxy answers, the server behind it does not (HTTP {status}): is it running, and does the proxy know where?", { status });
}

function idle(diagnosis, ms) {
  const values = { idle: seconds(ms), ping: PING_SECONDS };
  diagnosis.check("idle", "bad", "A waiting request was ended after {idle} s.", values);
  diagnosis.hint("timeout", "A request that waited for news was ended after {idle} s. Something between has a time limit shorter than the server's ping, which comes every {ping} s: raise it.", values);
}

function buffered(diagnosis) {
  diagnosis.hint("buffering", "What the server streams is kept back until it is enough: switch buffering and compression off for this path. Server-Sent Events need it, WebSockets do not.");
}

const whole = (ms) => Math.max(1, Math.round(ms));
const seconds = (ms) => Math.round(ms / 100) / 10;
