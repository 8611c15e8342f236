/**
 * What one knows of a room: its messages by sequence, each once, what the system said between
 * them, and one's own messages that are not there yet.
 */
export class RoomLog {
  /** Messages in order, without a gap: `first` is the sequence of the first one. */
  messages = [];
  /** `{after, text, timestamp}`: what the system said behind a sequence. */
  notices = [];
  /** `{id, content, state, reason}`: waiting, sent or failed. */
  pending = [];
  users = [];

  get first() {
    return this.messages[0]?.sequence ?? null;
  }

  get last() {
    return this.messages.at(-1)?.sequence ?? null;
  }

  /** Whether older messages are on the server, or may be. */
  get hasOlder() {
    return this.first !== null && this.first > 1 && !this.isAtBeginning;
  }

  isAtBeginning = false;

  /**
   * Takes in messages that are in order and without a gap: new ones, or older ones that end where
   * these begin. Those that are here already change nothing.
   * @returns {object[]} the new ones
   */
  add(messages) {
    const newer = messages.filter(({ sequence }) => this.last === null || sequence > this.last);
    const older = this.first === null ? [] : messages.filter(({ sequence }) => sequence < this.first);
    if (older.length && older.at(-1).sequence !== this.first - 1) older.length = 0; // not asked for
    this.messages = [...older, ...this.messages, ...newer];
    const ids = new Set(messages.map(({ id }) => id));
    this.pending = this.pending.filter(({ id }) => !ids.has(id));
    return newer;
  }

  notice({ content, sequence, timestamp }) {
    this.notices.push({ after: sequence, text: content, timestamp });
    if (this.notices.length > MOST_NOTICES) this.notices.shift();
  }

  /** Forgets the oldest messages; they can be had again. */
  trim(most) {
    if (this.messages.length <= most) return;
    this.messages = this.messages.slice(-most);
    this.notices = this.notices.filter(({ after }) => after >= this.first);
    this.isAtBeginning = false;
  }

  /** The log is another one: nothing of it can be kept. */
  clear() {
    this.messages = [];
    this.notices = [];
    this.isAtBeginning = false;
  }

  /** How many messages of others came behind a sequence. */
  countAfter(sequence, user) {
    return this.messages.filter((each) => each.sequence > sequence && each.user !== user).length;
  }
}

const MOST_NOTICES = 200;
