/** How many messages a second came on each topic lately, from its sequence at different times. */

const SLOT_SECONDS = 2;
export const SLOTS = 30;
const RATE_SLOTS = 5; // a rate is an average over ten seconds

export class Rates {
  #topics = new Map(); // topic → {slot, sequences}: the sequence at the end of each slot, newest last

  /** Hears of all topics as they are at a time in seconds. */
  note(rows, now) {
    const slot = Math.floor(now / SLOT_SECONDS);
    const seen = new Set();
    for (const { topic, sequence } of rows) {
      seen.add(topic);
      const known = this.#topics.get(topic);
      const isSame = known && sequence >= known.sequences.at(-1); // a new log begins anew
      if (!isSame) this.#topics.set(topic, { slot, sequences: [sequence] });
      else advance(known, slot, sequence);
    }
    for (const topic of this.#topics.keys()) if (!seen.has(topic)) this.#topics.delete(topic);
  }

  /** Messages a second; null while that is not known. */
  rate(topic) {
    const sequences = this.#topics.get(topic)?.sequences ?? [];
    const slots = Math.min(RATE_SLOTS, sequences.length - 1);
    if (slots < 2) return null; // the last slot is not over
    return (sequences.at(-1) - sequences.at(-1 - slots)) / (slots * SLOT_SECONDS);
  }

  /** Messages in each of the last slots, oldest first; fewer where less is known. */
  slots(topic) {
    const sequences = this.#topics.get(topic)?.sequences ?? [];
    return sequences.slice(1).map((sequence, index) => sequence - sequences[index]);
  }
}

function advance(known, slot, sequence) {
  const passed = Math.min(slot - known.slot, SLOTS + 1);
  for (let each = 0; each < passed; each += 1) known.sequences.push(known.sequences.at(-1));
  known.sequences.splice(0, known.sequences.length - SLOTS - 1);
  known.sequences[known.sequences.length - 1] = sequence;
  known.slot = Math.max(known.slot, slot);
}
