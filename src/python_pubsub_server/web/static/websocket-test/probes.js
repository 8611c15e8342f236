/** Tries each way to the server once, and tells what happened as facts for the diagnosis. */
import { socketUrl } from "../client/platform.js";
import { PollingSocket } from "../client/polling.js";
import { UpgradingSocket } from "../client/upgrading.js";
import { headers } from "../page/access.js";

const TIMEOUT_MS = 8_000;
const FIRST_BYTES_MS = 4_000;

/** @param {(fact: object) => void} tell */
export async function probeAll(tell) {
  await http(tell);
  await socket(new WebSocketProbe(tell));
  await socket({ open: (url) => new PollingSocket(url, { onRequest: (request) => tell({ kind: "request", ...request }) }) });
  await upgrade(tell);
  await stream(tell);
}

async function http(tell) {
  const started = performance.now();
  try {
    const answer = await fetch("/health/live", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    await answer.text();
    const via = [answer.headers.get("Server"), answer.headers.get("Via")].filter(Boolean).join(", ");
    const error = answer.ok ? undefined : `HTTP ${answer.status}`;
    const protocol = performance.getEntriesByName(answer.url).at(-1)?.nextHopProtocol ?? "";
    tell({ kind: "http", status: answer.status, ms: performance.now() - started, via, protocol, error });
  } catch (error) {
    tell({ kind: "http", status: null, ms: performance.now() - started, error: error.message });
  }
}

class WebSocketProbe {
  #tell;

  constructor(tell) {
    this.#tell = tell;
  }

  open(url) {
    const started = performance.now();
    const tell = (fact) => this.#tell({ kind: "websocket", ms: performance.now() - started, ...fact });
    const opened = new WebSocket(url);
    let wasOpen = false;
    opened.addEventListener("open", () => {
      wasOpen = true;
      tell({ state: "open" });
    });
    opened.addEventListener("close", ({ code }) => wasOpen || tell({ state: "failed", code }));
    return opened;
  }
}

/** Opens a socket until its first packet, or its end. */
function socket(probe) {
  return new Promise((resolve) => {
    const opened = probe.open(socketUrl(location.origin));
    const done = () => {
      clearTimeout(timer);
      opened.onmessage = opened.onclose = null;
      opened.close();
      resolve();
    };
    const timer = setTimeout(done, TIMEOUT_MS);
    opened.onmessage = done;
    opened.onclose = done;
  });
}

function upgrade(tell) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      opened.onclose = null;
      opened.close();
      resolve();
    };
    const timer = setTimeout(() => {
      tell({ kind: "upgrade", isDone: false, ms: TIMEOUT_MS, reason: "it takes too long" });
      done();
    }, TIMEOUT_MS);
    const onUpgrade = (step) => {
      tell({ kind: "upgrade", ...step });
      done();
    };
    const opened = new UpgradingSocket(socketUrl(location.origin), { onUpgrade });
    opened.onclose = ({ reason }) => onUpgrade({ isDone: false, ms: 0, reason });
  });
}

/** Whether the bytes of a response come as they are sent: a topic's events begin at once. */
async function stream(tell) {
  const started = performance.now();
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), FIRST_BYTES_MS);
  try {
    const answer = await fetch("/topics/websocket-test/events", { headers: headers(), cache: "no-store", signal: abort.signal });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    await answer.body.getReader().read();
    tell({ kind: "stream", isDone: true, ms: performance.now() - started });
  } catch (error) {
    const isLate = error.name === "AbortError";
    tell({ kind: "stream", isDone: false, error: isLate ? `no bytes in ${FIRST_BYTES_MS / 1000} s` : error.message });
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
}
