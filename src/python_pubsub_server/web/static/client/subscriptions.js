import { covers, Inbox, isPattern } from "./inbox.js";

// Refusals that pass by themselves.
export const PASSING_REFUSALS = ["unavailable", "rate_limited"];
const PASSING_FAILURES = ["timeout", ...PASSING_REFUSALS];

/** What a client is subscribed to, and where each subscription goes on after a lost connection. */
export class Subscriptions {
  #options;
  #client;
  #inbox = new Inbox();
  #wanted = new Set();
  #resuming = new Set(); // topics whose replay is still to begin on this connection

  /**
   * @param {object} options the client's
   * @param {{consumer: () => string | undefined, isConnected: () => boolean,
   *   request: (event: string, value: any, how: object) => Promise<any>,
   *   drop: (error: Error) => void, refused: (topic: string, error: Error) => void}} client
   *   `refused` hears of a topic that the server lets it have no more
   */
  constructor(options, client) {
    this.#options = options;
    this.#client = client;
  }

  /** The topics and patterns that are subscribed, or will be at the next connect. */
  get topics() {
    return [...this.#wanted];
  }

  /** Where to go on behind what was delivered: `{after, epoch}`. */
  get place() {
    return { after: this.#startsOf(this.topics), epoch: this.#inbox.epoch ?? undefined };
  }

  /** A request that subscribes to topics; `settle` for when the server has agreed, else `fail`. */
  begin(names, { after, epoch }) {
    if (after !== undefined) this.#inbox.forget(names);
    let isRepeated = false; // then it goes on behind what was delivered before the answer was lost
    const request = () => {
      const positions = isRepeated ? this.#inbox.positions(names) : {};
      isRepeated = true;
      for (const name of names) if (startOf(name, after) !== undefined) this.#resuming.add(name);
      return this.#subscription(names, positions, after, epoch);
    };
    const settle = () => {
      for (const name of names) this.#wanted.add(name);
    };
    const fail = (error) => {
      for (const name of names) this.#resuming.delete(name);
      throw error;
    };
    return { request, settle, fail };
  }

  /** The server has ended these. */
  end(names) {
    for (const name of names) {
      this.#wanted.delete(name);
      this.#resuming.delete(name);
    }
    this.#inbox.forget(names, this.topics);
  }

  /** Whether a message is to be delivered now: once, and in order. */
  accepts({ topic, sequence }) {
    if (sequence === null) return true; // another program said it through Redis
    // The server joins a user to its own notifications at once, from another place than this
    // client's: what comes so early comes again, in order, with the subscription.
    for (const pattern of this.#resuming) if (covers(pattern, topic)) return false;
    return this.#inbox.accepts({ topic, sequence });
  }

  /** The server's report of a subscription. */
  confirm(report) {
    this.#inbox.confirm(report);
    // One that the server makes by itself, of notifications that are lost, is in another name.
    const isOwn = [undefined, report.consumer].includes(this.#client.consumer());
    if (isOwn) for (const { topic } of report.topics) this.#resuming.delete(topic);
  }

  /** Subscribes again, on a new connection, to what was subscribed before. */
  resume() {
    if (!this.#wanted.size) return;
    if (this.#options.resume) this.#resuming = new Set(this.#wanted);
    if (this.#client.consumer() !== undefined) this.#ask(this.topics);
    else for (const topic of this.topics) this.#ask([topic]);
  }

  /** The connection is gone. */
  suspend() {
    this.#resuming.clear();
  }

  #ask(topics) {
    const positions = this.#options.resume ? this.#startsOf(topics) : {};
    const timeout = this.#options.deliveryTimeout; // the answer comes behind all that was missed
    this.#client
      .request("subscribe", this.#subscription(topics, positions), { timeout })
      .catch((error) => this.#failed(topics, error));
  }

  #failed(topics, error) {
    if (!this.#client.isConnected()) return; // the next connection tries again
    if (PASSING_FAILURES.includes(error.code)) {
      this.#client.drop(error);
    } else if (topics.length > 1) {
      // One refused topic refuses them all; find out which.
      for (const topic of topics) this.#ask([topic]);
    } else {
      this.#wanted.delete(topics[0]);
      this.#resuming.delete(topics[0]);
      this.#client.refused(topics[0], error);
    }
  }

  /** Where topics go on. What came to a pattern since is new from its beginning. */
  #startsOf(topics) {
    const patterns = topics.filter(isPattern);
    return { ...everywhere(patterns, "beginning"), ...this.#inbox.positions(topics) };
  }

  /** The body of a subscribe: a topic goes on behind its position, any other starts at `after`. */
  #subscription(topics, positions, after, epoch = this.#inbox.epoch) {
    const consumer = this.#client.consumer();
    const request = consumer === undefined ? { channel: topics[0] } : { consumer, topics };
    if (Object.keys(positions).length) {
      const start = typeof after === "object" ? after : everywhere(topics, after);
      request.after = { ...start, ...positions };
    } else if (after !== undefined) {
      request.after = after;
    }
    if (request.after !== undefined && epoch) request.epoch = epoch;
    return request;
  }
}

/** Where a topic or pattern is to start; undefined: with what is new. */
function startOf(name, after) {
  return typeof after === "object" ? after?.[name] : after;
}

function everywhere(topics, after) {
  return after === undefined ? {} : Object.fromEntries(topics.map((topic) => [topic, after]));
}
