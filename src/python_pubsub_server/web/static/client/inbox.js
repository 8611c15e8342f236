/** Whether a topic or pattern covers a topic. `*` alone leaves out the server's own `$` topics. */
export function covers(pattern, topic) {
  if (pattern === "*") return !topic.startsWith("$");
  return isPattern(pattern) ? topic.startsWith(pattern.slice(0, -1)) : pattern === topic;
}

export function isPattern(topic) {
  return topic.endsWith("*");
}

/**
 * What was delivered so far: the last sequence of each topic in one epoch. Lets every message
 * through once, and knows where to go on after a lost connection.
 */
export class Inbox {
  /** The identity of the server's log; null until the first subscription was confirmed. */
  epoch = null;
  #delivered = new Map(); // topic → last sequence let through
  #joined = new Map(); // topic → where its subscription started, for topics still quiet

  /** Whether a message is to be delivered; false for one that was. */
  accepts({ topic, sequence }) {
    if (sequence <= (this.#delivered.get(topic) ?? 0)) return false;
    this.#delivered.set(topic, sequence);
    return true;
  }

  /**
   * A subscription was confirmed. The server says so before its first message, so a new epoch
   * is known before sequences start over.
   */
  confirm({ epoch, topics }) {
    if (this.epoch !== null && this.epoch !== epoch) {
      this.#delivered.clear();
      this.#joined.clear();
    }
    this.epoch = epoch;
    // A pattern has no position of its own, only its topics have.
    const concrete = topics.flatMap((row) => row.topics ?? (isPattern(row.topic) ? [] : [row]));
    for (const { topic, sequence, replayed } of concrete) {
      this.#joined.set(topic, sequence - replayed);
    }
  }

  /** topic → last sequence, for every known topic that one of the topics or patterns covers. */
  positions(topics) {
    const known = new Map([...this.#joined, ...this.#delivered]);
    return Object.fromEntries(
      [...known].filter(([topic]) => topics.some((pattern) => covers(pattern, topic))),
    );
  }

  /** Forgets the positions of what `topics` cover and `kept` don't: it may come again. */
  forget(topics, kept = []) {
    const isKept = (topic) => kept.some((pattern) => covers(pattern, topic));
    for (const topic of Object.keys(this.positions(topics))) {
      if (isKept(topic)) continue;
      this.#delivered.delete(topic);
      this.#joined.delete(topic);
    }
  }
}
