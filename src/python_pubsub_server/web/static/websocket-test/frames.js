/** What went over a connection, frame by frame, as a reader understands it. */
import { decodeFrame } from "../client/socketio.js";
import { lossless } from "../page/lossless.js";

const encoder = new TextEncoder();
const ENGINE = ["open", "close", "ping", "pong", "noop"];

/**
 * One frame: `{isOwn, at, size, kind, event, value, id, raw}`; kind: event, ack, connect,
 * disconnect, connect_error, or engine for what only keeps the connection going.
 * @param {boolean} isOwn it went to the server
 */
export function describe(raw, { isOwn, isPlain, at }) {
  const text = typeof raw === "string" ? raw : "";
  const frame = { isOwn, at, raw: text, size: encoder.encode(text).length };
  try {
    return { ...frame, ...(isPlain ? plain(text) : socketio(text)) };
  } catch (error) {
    return { ...frame, kind: "malformed", event: error.message, value: text };
  }
}

function socketio(text) {
  if (text === "2probe" || text === "3probe" || text === "5") return { kind: "engine", event: text === "5" ? "upgrade" : "probe" };
  const { kind, namespace, id, data } = decodeFrame(text, lossless);
  if (ENGINE.includes(kind) && !namespace) return { kind: "engine", event: kind, value: data };
  if (kind === "event") return { kind, event: String(data[0]), value: data.length > 2 ? data.slice(1) : data[1], id };
  if (kind === "ack") return { kind, event: "", value: data.length > 1 ? data : data[0], id };
  return { kind, event: kind.replace("_", " "), value: data };
}

function plain(text) {
  const { type, id, ...fields } = lossless.parse(text);
  if (type === "ack") return { kind: "ack", event: "", value: fields, id };
  if (type === "pong") return { kind: "engine", event: "pong" };
  const value = Object.keys(fields).join() === "data" ? fields.data : fields;
  return { kind: "event", event: String(type), value, id };
}

/** A socket whose frames are told to `hear(raw, isOwn)`; it behaves as the one inside of it. */
export class Tap {
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  #socket;
  #hear;

  constructor(socket, hear) {
    this.#socket = socket;
    this.#hear = hear;
    socket.onopen = (event) => this.onopen?.(event);
    socket.onmessage = (event) => {
      hear(event.data, false);
      this.onmessage?.(event);
    };
    socket.onclose = (event) => this.onclose?.(event);
    socket.onerror = (event) => this.onerror?.(event);
  }

  send(text) {
    this.#hear(text, true);
    this.#socket.send(text);
  }

  close() {
    this.#socket.close();
  }
}
