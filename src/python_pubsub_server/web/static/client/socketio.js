/**
 * The text frames of Engine.IO 4 and Socket.IO 5, without I/O.
 * https://socket.io/docs/v4/engine-io-protocol/ and https://socket.io/docs/v4/socket-io-protocol/
 */
import { PubSubError } from "./errors.js";

export const PONG_FRAME = "3";

const ENGINE_KINDS = { 0: "open", 1: "close", 2: "ping", 3: "pong", 6: "noop" };
const PACKET_KINDS = ["connect", "disconnect", "event", "ack", "connect_error"];
const PACKET = /^(\d)(?:(\/[^,]*),)?(\d*)/;

/**
 * The frame of a Socket.IO packet.
 * @param {{kind: string, namespace?: string, id?: number, data?: any}} packet
 */
export function encodeFrame({ kind, namespace = "/", id, data }, json = JSON) {
  const type = PACKET_KINDS.indexOf(kind);
  if (type < 0) throw new PubSubError("protocol", `no packet of the kind ${kind}`);
  const place = namespace === "/" ? "" : `${namespace},`;
  return `4${type}${place}${id ?? ""}${data === undefined ? "" : json.stringify(data)}`;
}

/**
 * What a frame says: `{kind}` of the engine (`open` with its `data`), or a Socket.IO packet
 * `{kind, namespace, id, data}`. Throws a PubSubError of the code `protocol`.
 */
export function decodeFrame(text, json = JSON) {
  if (typeof text !== "string") throw new PubSubError("protocol", "a binary frame");
  if (text[0] === "4") return decodePacket(text.slice(1), json);
  const kind = ENGINE_KINDS[text[0]];
  if (!kind) throw new PubSubError("protocol", `an unknown frame: ${text.slice(0, 40)}`);
  return kind === "open" ? { kind, data: parse(text.slice(1), json) } : { kind };
}

function decodePacket(text, json) {
  const head = PACKET.exec(text);
  const kind = head && PACKET_KINDS[head[1]];
  if (!kind) throw new PubSubError("protocol", `an unknown packet: ${text.slice(0, 40)}`);
  const [whole, , place, id] = head;
  const body = text.slice(whole.length);
  const data = body === "" ? undefined : parse(body, json);
  if ((kind === "event" || kind === "ack") && !Array.isArray(data)) {
    throw new PubSubError("protocol", `an ${kind} without a list: ${text.slice(0, 40)}`);
  }
  const namespace = place ? place.split("?")[0] : "/";
  return { kind, namespace, id: id === "" ? undefined : Number(id), data };
}

function parse(text, json) {
  try {
    return json.parse(text);
  } catch {
    throw new PubSubError("protocol", `not JSON: ${text.slice(0, 40)}`);
  }
}
