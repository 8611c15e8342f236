import { byId, instantiate, setName, setText } from "../page/dom.js";
import { Feed, MOST_KEPT } from "../page/feed.js";
import { keep, kept } from "../page/kept.js";
import { say } from "../page/language.js";
import { lossless } from "../page/lossless.js";
import { count, pretty, showTime } from "../page/text.js";
import { leadTo } from "./places.js";

const LONGEST_KEPT = 1_500_000; // characters that outlive a new opening of the page
const ANNOUNCE_EVERY_MS = 5_000;

/**
 * What arrives, to be filtered, paused and confirmed.
 *
 * A record is `{message, state, text, element}`; state: open, confirming, confirmed.
 */
export class Received {
  #client;
  #report;
  #onChange;
  #filter = byId("received-filter");
  #feed = new Feed(byId("received"), {
    pause: byId("received-pause"),
    accepts: () => this.#accepts(),
    render: (record) => this.#render(record),
    onDraw: () => this.#showCounts(),
  });
  #total = 0;
  #announcement = 0;

  /** @param {() => void} onChange hears that a message was confirmed */
  constructor(client, report, onChange) {
    this.#client = client;
    this.#onChange = onChange;
    this.#report = report;
    this.#restore(kept("received"));
    keep("received", () => this.#kept());
    client.on("received", (message) => {
      if (message.sequence !== null) this.#arrive(message); // else there is nothing to confirm
    });
    byId("received-clear").onclick = () => this.#clear();
    byId("received-confirm").onclick = () => {
      for (const record of this.#confirmable().reverse()) this.#confirm(record); // in their order
    };
    this.#filter.oninput = () => this.#feed.showAnew();
    this.#feed.showAnew();
  }

  #arrive(message) {
    this.#total += 1;
    this.#feed.add({ message, state: "open" });
    this.#announcement ||= setTimeout(() => this.#announce(), ANNOUNCE_EVERY_MS);
  }

  /** Whether a record has all words of the filter, in whatever part. */
  #accepts() {
    const words = this.#filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return () => true;
    return (record) => {
      record.text ??= textOf(record.message);
      return words.every((word) => record.text.includes(word));
    };
  }

  #render(record) {
    const { message } = record;
    const element = instantiate("received-template", {
      sequence: `#${count(message.sequence)}`,
      message: pretty(message.message),
      replayed: message.replayed ? say("replayed") : "",
    });
    const topic = element.querySelector('[data-field="topic"]');
    setName(topic, message.topic);
    leadTo(topic, { topic: message.topic, at: message.sequence });
    setName(element.querySelector('[data-field="producer"]'), message.producer);
    element.title = `message_id ${message.message_id}`;
    showTime(element.querySelector("time"), message.timestamp);
    element.querySelector("[data-confirm]").onclick = () => {
      if (record.state === "open") this.#confirm(record);
    };
    record.element = element;
    this.#mark(record, record.state);
    return element;
  }

  async #confirm(record) {
    this.#mark(record, "confirming");
    this.#showCounts();
    try {
      await this.#client.consumed(record.message);
      this.#mark(record, "confirmed");
      this.#onChange();
    } catch (error) {
      this.#mark(record, "open");
      this.#report(error);
    }
    this.#showCounts();
  }

  #mark(record, state) {
    record.state = state;
    if (!record.element) return;
    const { topic, sequence } = record.message;
    const button = record.element.querySelector("[data-confirm]");
    record.element.dataset.state = state;
    button.setAttribute("aria-disabled", String(state !== "open"));
    const text = { open: "Confirm", confirming: "Confirming…", confirmed: "Confirmed" }[state];
    setText(button, say(text));
    const isDone = state === "confirmed";
    const label = isDone ? say("Confirmed {topic} #{sequence}", { topic, sequence }) : say("Confirm {topic} #{sequence}", { topic, sequence });
    button.setAttribute("aria-label", label);
  }

  #confirmable() {
    return this.#feed.shown.filter((record) => record.state === "open");
  }

  #clear() {
    this.#total = 0;
    this.#feed.clear();
  }

  #showCounts() {
    const { shown, records, isPaused, letGo } = this.#feed;
    const isFiltered = this.#filter.value.trim() !== "";
    const numbers = { shown: count(shown.length), kept: count(records.length) };
    const notes = [
      isFiltered && say("{shown} of the last {kept} pass the filter.", numbers),
      isPaused && letGo && say("Only the newest {number} are kept while this stands still.", { number: count(MOST_KEPT) }),
    ];
    setText(byId("received-count"), count(this.#total));
    setText(byId("received-note"), notes.filter(Boolean).join(" "));
    byId("received-confirm").disabled = this.#confirmable().length === 0;
    byId("received-clear").disabled = this.#total === 0;
    byId("received-filter-box").hidden = records.length === 0 && !isFiltered;
    byId("received-empty").hidden = records.length > 0;
  }

  #announce() {
    this.#announcement = 0;
    setText(byId("received-announcement"), say("{number} messages received", { number: this.#total }));
  }

  /** What is to be there again: as many of the newest records as there is room for. */
  #kept() {
    let room = LONGEST_KEPT;
    const records = this.#feed.all.filter(({ message }) => {
      if (room > 0) room -= lossless.stringify(message).length;
      return room > 0;
    });
    const short = ({ message, state }) => ({ message, state: state === "confirmed" ? state : "open" });
    return { total: this.#total, filter: this.#filter.value, isPaused: this.#feed.isPaused, records: records.map(short) };
  }

  #restore(before) {
    if (!before) return;
    this.#total = before.total;
    this.#filter.value = before.filter;
    this.#feed.isPaused = before.isPaused;
    this.#feed.records = before.records;
  }
}

function textOf({ topic, producer, message_id, message }) {
  return `${topic}\n${producer}\n${message_id}\n${lossless.stringify(message)}`.toLowerCase();
}
