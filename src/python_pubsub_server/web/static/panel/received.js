import { byId, instantiate, setText } from "../page/dom.js";
import { say } from "../page/language.js";
import { count, pretty, showTime } from "../page/text.js";

const MOST_SHOWN = 200;
const ANNOUNCE_EVERY_MS = 5_000;

/**
 * What arrives: newest first, the last 200, drawn once a frame however much comes. While paused
 * the list stands still and the newest 200 wait.
 */
export class Received {
  #client;
  #report;
  #onChange;
  #list = byId("received");
  #waiting = [];
  #total = 0;
  #isPaused = false;
  #frame = 0;
  #announcement = 0;
  #confirmable = new Map(); // element → message

  /** @param {() => void} onChange hears that a message was confirmed */
  constructor(client, report, onChange) {
    this.#client = client;
    this.#onChange = onChange;
    this.#report = report;
    client.on("message", (message) => this.#arrive(message));
    byId("received-pause").onclick = () => this.#pause(!this.#isPaused);
    byId("received-clear").onclick = () => this.#clear();
    byId("received-confirm").onclick = () => {
      for (const [element, message] of [...this.#confirmable]) this.#confirm(element, message);
    };
  }

  #arrive(message) {
    this.#total += 1;
    this.#waiting.push(message);
    if (this.#waiting.length > 2 * MOST_SHOWN) this.#waiting = this.#waiting.slice(-MOST_SHOWN);
    this.#frame ||= requestAnimationFrame(() => this.#draw());
    this.#announcement ||= setTimeout(() => this.#announce(), ANNOUNCE_EVERY_MS);
  }

  #draw() {
    this.#frame = 0;
    if (!this.#isPaused) {
      const items = this.#waiting.slice(-MOST_SHOWN).map((message) => this.#item(message));
      this.#waiting = [];
      this.#list.prepend(...items.reverse());
      while (this.#list.children.length > MOST_SHOWN) this.#remove(this.#list.lastElementChild);
    }
    this.#showCounts();
  }

  #item(message) {
    const element = instantiate("received-template", {
      topic: message.topic,
      sequence: `#${count(message.sequence)}`,
      producer: message.producer,
      message: pretty(message.message),
      replayed: message.replayed ? say("replayed") : "",
    });
    element.title = `message_id ${message.message_id}`;
    showTime(element.querySelector("time"), message.timestamp);
    const button = element.querySelector("[data-confirm]");
    button.setAttribute("aria-label", say("Confirm {topic} #{sequence}", message));
    button.onclick = () => {
      if (this.#confirmable.has(element)) this.#confirm(element, message);
    };
    this.#confirmable.set(element, message);
    return element;
  }

  async #confirm(element, message) {
    const button = element.querySelector("[data-confirm]");
    this.#mark(element, "confirming", say("Confirming…"));
    this.#confirmable.delete(element);
    this.#showCounts();
    try {
      await this.#client.consumed(message);
      this.#mark(element, "confirmed", say("Confirmed"));
      this.#onChange();
      button.setAttribute("aria-label", say("Confirmed {topic} #{sequence}", message));
    } catch (error) {
      this.#mark(element, "open", say("Confirm"));
      if (element.isConnected) this.#confirmable.set(element, message);
      this.#report(error);
    }
    this.#showCounts();
  }

  #mark(element, state, text) {
    const button = element.querySelector("[data-confirm]");
    element.dataset.state = state;
    button.setAttribute("aria-disabled", String(state !== "open"));
    setText(button, text);
  }

  #pause(isPaused) {
    this.#isPaused = isPaused;
    byId("received-pause").setAttribute("aria-pressed", String(isPaused));
    this.#draw();
  }

  #clear() {
    for (const element of [...this.#list.children]) this.#remove(element);
    this.#waiting = [];
    this.#total = 0;
    this.#showCounts();
  }

  #remove(element) {
    this.#confirmable.delete(element);
    element.remove();
  }

  #showCounts() {
    const shown = this.#list.children.length;
    const missed = this.#waiting.length;
    setText(byId("received-count"), count(this.#total));
    const goOn = missed ? say("Go on ({number} new)", { number: count(missed) }) : say("Go on");
    setText(byId("received-pause"), this.#isPaused ? goOn : say("Pause"));
    byId("received-confirm").disabled = this.#confirmable.size === 0;
    byId("received-clear").disabled = this.#total === 0;
    byId("received-empty").hidden = shown > 0;
  }

  #announce() {
    this.#announcement = 0;
    setText(byId("received-announcement"), say("{number} messages received", { number: this.#total }));
  }
}
