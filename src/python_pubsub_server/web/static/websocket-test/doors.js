/** Where one can connect, and what can be asked there. A test compares it with the server's tables. */
import { randomUUID } from "../client/platform.js";

const CONSUMER = "websocket-test";
const TOPIC = "websocket-test";
const ROOM = "lobby";
const REFRESH = { token: "" };

const MAIN = {
  subscribe: { consumer: CONSUMER, topics: [TOPIC, "host:*"] },
  "subscribe:suggestions": {},
  "subscribe:resource": { resource_id: "websocket-test" },
  unsubscribe: { topics: [TOPIC] },
  publish: () => ({ topic: TOPIC, message_id: randomUUID(), message: { text: "Hello" }, producer: CONSUMER }),
  consumed: ({ topic, message_id }) => ({ consumer: CONSUMER, topic, message_id }),
  history: { topic: TOPIC, after: 0, limit: 10 },
  presence: { topic: TOPIC },
  publish_event: { channel: "cluster:alerts", data: { text: "Hello" } },
  refresh: REFRESH,
};
const CHAT = {
  join: { room: ROOM },
  message: { data: { room: ROOM, content: "Hello" } },
  presence: { room: ROOM },
  history: { room: ROOM, since: 0, limit: 10 },
  status: { status: "away" },
  typing: { room: ROOM },
  rooms: {},
  heartbeat: {},
  leave: { room: ROOM },
  refresh: REFRESH,
};

/**
 * `ping` is an event that is always answered, and changes nothing; `echo` the event that it brings
 * beside its answer.
 * @type {Record<string, {isPlain?: boolean, requests: Record<string, object | ((seen: object) => object)>, ping: object}>}
 */
export const DOORS = {
  "/": { requests: MAIN, ping: { event: "presence", body: { topic: TOPIC } } },
  "/chat": { requests: CHAT, ping: { event: "heartbeat", body: {} } },
  "/health": {
    requests: { request_health: {}, refresh: REFRESH },
    ping: { event: "request_health", body: {}, echo: "health_response" },
  },
  "/monitoring": {
    requests: { subscribe_to_updates: {}, request_cluster_status: {}, request_nodes_status: {}, refresh: REFRESH },
    ping: { event: "request_nodes_status", body: {}, echo: "nodes_status_response" },
  },
  "/ws": { isPlain: true, requests: { ...MAIN, ping: {} }, ping: { event: "ping", body: {} } },
  "/chat/ws": { isPlain: true, requests: { ...CHAT, ping: {} }, ping: { event: "ping", body: {} } },
};

/**
 * The text of a request, to be changed and sent.
 * @param {{topic: string, message_id: string}} [seen] the last message that came or went
 */
export function template(door, event, seen = { topic: TOPIC, message_id: "m-1" }) {
  const body = DOORS[door].requests[event] ?? {};
  return JSON.stringify(typeof body === "function" ? body(seen) : body, null, 2);
}
