import { copyText, publishCommand } from "../page/copy.js";
import { arrange, byId, instantiate, setName, setText } from "../page/dom.js";
import { say } from "../page/language.js";
import { lossless } from "../page/lossless.js";
import { count, pretty, showTime } from "../page/text.js";
import { leadTo } from "../panel/places.js";
import { Ledger } from "./ledger.js";

/** The messages of a topic's page; an element stays while its message is shown, and so its ledger. */
export class Entries {
  #list = byId("topic-messages");
  #entries = new Map(); // sequence → {element, ledger}

  /** Shows messages, newest first; `at` is the sequence that was asked for. */
  show(messages, at) {
    const wanted = new Set(messages.map(({ sequence }) => sequence));
    for (const sequence of this.#entries.keys()) {
      if (!wanted.has(sequence)) this.#entries.delete(sequence);
    }
    arrange(this.#list, messages.map((message) => this.#element(message)));
    for (const [sequence, { element }] of this.#entries) {
      if (sequence === at) element.setAttribute("aria-current", "true");
      else element.removeAttribute("aria-current");
    }
  }

  clear() {
    this.#entries.clear();
    arrange(this.#list, []);
  }

  /** Reads the open ledgers again. */
  refreshLedgers() {
    for (const { ledger } of this.#entries.values()) ledger?.refresh();
  }

  #element(message) {
    const present = this.#entries.get(message.sequence);
    if (present) return present.element;
    const { topic, sequence, producer, message_id: id, timestamp } = message;
    const element = instantiate("entry-template", { message: pretty(message.message) });
    const entry = { element, ledger: null };
    this.#entries.set(sequence, entry);
    const link = element.querySelector('[data-field="sequence"]');
    setText(link, `#${count(sequence)}`);
    leadTo(link, { topic, at: sequence });
    const from = element.querySelector('[data-field="producer"]');
    setName(from, producer);
    from.title = say("Only messages of {producer}", { producer });
    leadTo(from, { topic, producer });
    setName(element.querySelector('[data-field="id"]'), id);
    showTime(element.querySelector("time"), timestamp);
    this.#watchButtons(entry, message);
    return element;
  }

  #watchButtons(entry, message) {
    const button = (name) => entry.element.querySelector(`[data-${name}]`);
    const { topic, producer, message_id, message: content } = message;
    button("as-curl").onclick = () => {
      const body = lossless.stringify({ topic, message_id, message: content, producer });
      copyText(publishCommand(body), button("as-curl"));
    };
    button("as-json").onclick = () => copyText(lossless.stringify(content, null, 2), button("as-json"));
    button("ledger").onclick = () => {
      const isOpen = entry.ledger === null;
      button("ledger").setAttribute("aria-expanded", String(isOpen));
      entry.ledger?.element.remove();
      entry.ledger = isOpen ? new Ledger(message) : null;
      if (!isOpen) return;
      entry.element.append(entry.ledger.element);
      entry.ledger.refresh();
    };
  }
}
