import { Emitter } from "./emitter.js";
import { covers } from "./inbox.js";

// The server sends the messages of some topics as events of their own; this client asks for the
// whole message (`envelope=true`).
const OWN_EVENTS = new Set(["message", "notification", "suggestion:vote", "resource:update"]);

export function isMessage(event) {
  return OWN_EVENTS.has(event);
}

/** What listeners get: the whole `message`; of any other event its content, then the whole. */
export function argumentsOf(event, message) {
  return event === "message" ? [message] : [message.message, message];
}

/**
 * One topic or pattern with listeners of its own; made by `client.channel()`.
 *
 * Events: `message` (the message), or the event that the topic has in place of it: `notification`,
 * `suggestion:vote`, `resource:update` (the content, then the whole message) · `subscribed` (the server's report of the topic) ·
 * `unrecovered` · `error` (the server does not let it in, now or at a reconnect).
 */
export class Channel extends Emitter {
  /** Resolves with the server's report once the subscription is live; rejects if it is refused. */
  subscribed;
  #client;
  #topic;

  /** @internal */
  constructor(client, topic, subscribe) {
    super();
    this.#client = client;
    this.#topic = topic;
    this.subscribed = subscribe();
    this.subscribed.catch((error) => this.emit("error", error));
  }

  get topic() {
    return this.#topic;
  }

  /** Publishes on this topic; see {@link PubSubClient#publish}. */
  publish(message, more = {}) {
    return this.#client.publish({ ...more, topic: this.#topic, message });
  }

  /** Who is here under a name. @returns {Promise<{user: string, status: string, last_seen: number}[]>} */
  async presence() {
    return (await this.#client.request("presence", { topic: this.#topic })).users;
  }

  /** The last message of this topic, if there is one; for a topic whose last one is the state. */
  async last() {
    const topic = this.#topic;
    const ask = (after) => this.#client.request("history", { topic, after, limit: 1 });
    const { sequence, first } = await ask(Number.MAX_SAFE_INTEGER);
    if (!sequence || sequence < first) return null;
    const { messages } = await ask(sequence - 1);
    return messages[0] ?? null;
  }

  /** Ends it; the same channel may be asked for again. */
  unsubscribe() {
    return this.#client.unsubscribe(this.#topic);
  }
}

/** The channels of a client, by what they stand for. */
export class Channels {
  #channels = new Map();

  /** The channel of a topic or pattern, made if there is none. */
  get(topic, make) {
    const existing = this.#channels.get(topic);
    if (existing) return existing;
    const channel = make();
    this.#channels.set(topic, channel);
    // One that is refused may be asked for again.
    channel.subscribed.catch(() => this.#channels.get(topic) === channel && this.leave([topic]));
    return channel;
  }

  leave(topics) {
    for (const topic of topics) this.#channels.delete(topic);
  }

  /** Tells an event of a topic to all channels that cover it. */
  tell(topic, event, ...values) {
    const exact = this.#channels.get(topic);
    exact?.emit(event, ...values);
    for (const [pattern, channel] of this.#channels) {
      if (channel !== exact && covers(pattern, topic)) channel.emit(event, ...values);
    }
  }

  /** Tells something to the channel of just this topic or pattern. */
  tellOwn(topic, event, value) {
    this.#channels.get(topic)?.emit(event, value);
  }
}
