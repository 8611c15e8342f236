import { byId, instantiate, setName, setText } from "../page/dom.js";
import { keep, kept } from "../page/kept.js";
import { say } from "../page/language.js";
import { lossless } from "../page/lossless.js";
import { count, pretty, showTime } from "../page/text.js";
import { leadTo } from "./places.js";

const MOST_SHOWN = 200;
const MOST_KEPT = 1_000; // so that a filter has something to find
const LONGEST_KEPT = 1_500_000; // characters that outlive a new opening of the page
const ANNOUNCE_EVERY_MS = 5_000;

/**
 * What arrives: of the last 1,000 messages those that the filter lets through, newest first, 200 at
 * most, drawn once a frame however much comes. While paused the list stands still and the newest
 * 1,000 wait.
 *
 * A record is `{message, state, text, element}`; state: open, confirming, confirmed.
 */
export class Received {
  #client;
  #report;
  #onChange;
  #list = byId("received");
  #filter = byId("received-filter");
  #records = []; // newest first
  #shown = []; // newest first, the records of the list
  #waiting = []; // oldest first
  #total = 0;
  #letGo = 0; // while paused
  #isPaused = false;
  #frame = 0;
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
    byId("received-pause").onclick = () => this.#pause(!this.#isPaused);
    byId("received-clear").onclick = () => this.#clear();
    byId("received-confirm").onclick = () => {
      for (const record of this.#confirmable().reverse()) this.#confirm(record); // in their order
    };
    this.#filter.oninput = () => this.#showAnew();
    this.#showAnew();
  }

  #arrive(message) {
    this.#total += 1;
    this.#waiting.push({ message, state: "open" });
    if (this.#waiting.length > 2 * MOST_KEPT) this.#letSomeGo();
    this.#frame ||= requestAnimationFrame(() => this.#draw());
    this.#announcement ||= setTimeout(() => this.#announce(), ANNOUNCE_EVERY_MS);
  }

  #letSomeGo() {
    const before = this.#waiting.length;
    this.#waiting = this.#waiting.slice(-MOST_KEPT);
    this.#letGo += before - this.#waiting.length;
  }

  #draw() {
    this.#frame = 0;
    if (!this.#isPaused && this.#waiting.length) {
      const fresh = this.#waiting.slice(-MOST_KEPT).reverse();
      this.#waiting = [];
      this.#records = [...fresh, ...this.#records].slice(0, MOST_KEPT);
      this.#add(fresh);
    }
    this.#showCounts();
  }

  /** Puts the fresh ones that pass the filter in front. */
  #add(fresh) {
    const accepts = this.#accepts();
    const passing = fresh.filter(accepts).slice(0, MOST_SHOWN);
    this.#list.prepend(...passing.map((record) => this.#element(record)));
    const shown = [...passing, ...this.#shown];
    for (const record of shown.slice(MOST_SHOWN)) {
      record.element.remove();
      record.element = undefined;
    }
    this.#shown = shown.slice(0, MOST_SHOWN);
  }

  #showAnew() {
    const accepts = this.#accepts();
    this.#shown = this.#records.filter(accepts).slice(0, MOST_SHOWN);
    this.#list.replaceChildren(...this.#shown.map((record) => this.#element(record)));
    this.#showCounts();
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

  #element(record) {
    if (record.element) return record.element;
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
    return this.#shown.filter((record) => record.state === "open");
  }

  #pause(isPaused) {
    this.#isPaused = isPaused;
    if (!isPaused) this.#letGo = 0;
    this.#draw();
  }

  #clear() {
    this.#records = [];
    this.#waiting = [];
    this.#total = this.#letGo = 0;
    this.#showAnew();
  }

  #showCounts() {
    const missed = this.#waiting.length + this.#letGo;
    const isFiltered = this.#filter.value.trim() !== "";
    setText(byId("received-count"), count(this.#total));
    const goOn = missed ? say("Go on ({number} new)", { number: count(missed) }) : say("Go on");
    const pause = byId("received-pause");
    pause.setAttribute("aria-pressed", String(this.#isPaused));
    setText(pause, this.#isPaused ? goOn : say("Pause"));
    const letGo = this.#isPaused && this.#letGo ? say("Only the newest {number} are kept while this stands still.", { number: count(MOST_KEPT) }) : "";
    const numbers = { shown: count(this.#shown.length), kept: count(this.#records.length) };
    const found = isFiltered ? say("{shown} of the last {kept} pass the filter.", numbers) : "";
    setText(byId("received-note"), [found, letGo].filter(Boolean).join(" "));
    byId("received-confirm").disabled = this.#confirmable().length === 0;
    byId("received-clear").disabled = this.#total === 0;
    byId("received-filter-box").hidden = this.#records.length === 0 && !isFiltered;
    byId("received-empty").hidden = this.#records.length > 0;
  }

  #announce() {
    this.#announcement = 0;
    setText(byId("received-announcement"), say("{number} messages received", { number: this.#total }));
  }

  /** What is to be there again: as many of the newest records as there is room for. */
  #kept() {
    let room = LONGEST_KEPT;
    const all = [...this.#waiting.toReversed(), ...this.#records];
    const records = all.slice(0, MOST_KEPT).filter(({ message }) => {
      if (room > 0) room -= lossless.stringify(message).length;
      return room > 0;
    });
    const short = ({ message, state }) => ({ message, state: state === "confirmed" ? state : "open" });
    return { total: this.#total, filter: this.#filter.value, isPaused: this.#isPaused, records: records.map(short) };
  }

  #restore(before) {
    if (!before) return;
    this.#total = before.total;
    this.#filter.value = before.filter;
    this.#isPaused = before.isPaused;
    this.#records = before.records;
  }
}

function textOf({ topic, producer, message_id, message }) {
  return `${topic}\n${producer}\n${message_id}\n${lossless.stringify(message)}`.toLowerCase();
}
