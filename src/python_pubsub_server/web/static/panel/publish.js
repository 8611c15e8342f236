import { byId, setText } from "../page/dom.js";
import { say } from "../page/language.js";
import { lossless } from "../page/lossless.js";
import { count } from "../page/text.js";

/** The publish form: checks before it sends, and says what became of the message. */
export class PublishForm {
  #client;
  #onChange;
  #form = byId("publish");
  #message = byId("publish-message");
  #result = byId("publish-result");

  /** @param {() => void} onChange hears that something was stored */
  constructor(client, onChange) {
    this.#client = client;
    this.#onChange = onChange;
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    this.#form.onkeydown = (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.#form.requestSubmit();
    };
    this.#message.oninput = () => this.#parseMessage();
    byId("publish-format").onclick = () => this.#tidy();
  }

  async #submit() {
    const publication = this.#read();
    if (!publication) {
      this.#say(say("Not sent."), "failed");
      this.#form.querySelector('[aria-invalid="true"]').focus();
      return;
    }
    const isConnected = this.#client.state.name === "connected";
    this.#say(say(isConnected ? "Sending…" : "Waiting for the connection…"));
    try {
      const { sequence, duplicate } = await this.#client.publish(publication);
      const place = { number: count(sequence), topic: publication.topic };
      const text = duplicate ? "Stored before, as #{number} of {topic}" : "Stored as #{number} of {topic}";
      this.#say(say(text, place), "done");
      this.#onChange();
    } catch (error) {
      this.#say(`${error.code}: ${error.message}`, "failed");
    }
  }

  /** What the form holds, or null when something is wrong; then the fields say what. */
  #read() {
    const topic = this.#required("publish-topic", say("A topic is needed."));
    const producer = this.#required("publish-producer", say("A producer is needed."));
    const message = this.#parseMessage();
    if (topic === null || producer === null || message === undefined) return null;
    return { topic, producer, message, message_id: byId("publish-id").value || undefined };
  }

  #required(id, complaint) {
    const input = byId(id);
    const value = input.value.trim();
    complain(input, value ? "" : complaint);
    return value || null;
  }

  /** The message, undefined when it is not JSON; the field says why. */
  #parseMessage() {
    try {
      const message = lossless.parse(this.#message.value);
      complain(this.#message, "");
      return message;
    } catch (error) {
      const isEmpty = this.#message.value.trim() === "";
      const reason = isEmpty ? say("a message is needed; null is one") : error.message;
      complain(this.#message, say("Not valid JSON: {reason}", { reason }));
      return undefined;
    }
  }

  #tidy() {
    const message = this.#parseMessage();
    if (message !== undefined) this.#message.value = lossless.stringify(message, null, 2);
  }

  #say(text, state = "busy") {
    this.#result.dataset.state = state;
    setText(this.#result, text);
  }
}

function complain(input, text) {
  setText(byId(`${input.id}-error`), text);
  if (text) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
}
