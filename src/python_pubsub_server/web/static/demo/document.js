/** A text that everybody who has it open sees: the last update of a resource is its state. */
import { byId, setText } from "../page/dom.js";
import { sendJSON } from "../page/http.js";
import { say } from "../page/language.js";

const SEND_MS = 250;

export class LiveDocument {
  #id;
  #author;
  #text = byId("document-text");
  #timer;
  #sequence = 0;

  constructor(client, id, author) {
    this.#id = id;
    this.#author = author;
    setText(byId("document-id"), id);
    const channel = client.channel(`resource:updates:${id}`);
    channel.on("resource:update", (update, message) => this.#show(update, message));
    channel.on("subscribed", async () => {
      this.#sequence = 0; // it may be another log by now
      const last = await channel.last().catch(({ message }) => this.#complain(message));
      if (last) this.#show(last.message, last);
    });
    channel.on("error", ({ message }) => this.#complain(message));
    this.#text.oninput = () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#send(), SEND_MS);
    };
  }

  #show(update, { sequence }) {
    if (typeof update?.text !== "string") return; // another program's, of another shape
    if (sequence !== null && sequence <= this.#sequence) return;
    this.#sequence = sequence ?? this.#sequence;
    setText(byId("document-by"), say("Last written by {user}", { user: String(update.by) }));
    const isOlder = this.#timer !== undefined; // what is being written here comes after it
    if (isOlder || this.#text.value === update.text) return;
    const { selectionStart: start, selectionEnd: end } = this.#text;
    this.#text.value = update.text;
    if (document.activeElement === this.#text) this.#text.setSelectionRange(start, end);
  }

  async #send() {
    this.#timer = undefined;
    this.#complain("");
    try {
      const update = { text: this.#text.value, by: this.#author };
      await sendJSON(`/api/resources/${encodeURIComponent(this.#id)}/updates`, update);
    } catch (error) {
      this.#complain(error.message);
    }
  }

  #complain(text) {
    setText(byId("document-problem"), text);
  }
}
