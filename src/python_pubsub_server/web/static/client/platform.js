/** What differs between pages, workers and Node, and the clock that tests replace. */

export const systemClock = {
  now: () => performance.now(),
  setTimeout: (callback, delay) => setTimeout(callback, delay),
  clearTimeout: (timer) => clearTimeout(timer),
};

/** A random UUID, version 4, also in pages that came over plain HTTP, without crypto.randomUUID. */
export function randomUUID(crypto = globalThis.crypto) {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40; // RFC 9562 §5.4
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** The WebSocket URL of a server's URL; a path is kept (a server behind a proxy), a query too. */
export function socketUrl(url) {
  const base = new URL(url);
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  const target = new URL("socket.io/", base);
  target.protocol = base.protocol.replace(/^http/, "ws");
  target.search = base.search;
  target.searchParams.set("EIO", "4");
  target.searchParams.set("transport", "websocket");
  target.searchParams.set("envelope", "true"); // whole messages, to resume behind them
  return target.href;
}
