import { byId, setText } from "../page/dom.js";
import { jsonTextProblem } from "../page/json-text.js";
import { keepFields } from "../page/kept.js";
import { say } from "../page/language.js";
import { lossless } from "../page/lossless.js";
import { nameProblem, topicProblem } from "../page/rules.js";
import { count } from "../page/text.js";

const FIELDS = ["topic", "producer", "id", "message"];

/** The publish form: checks what the server would refuse, and says what became of the message. */
export class PublishForm {
  #client;
  #onStored;
  #form = byId("publish");
  #message = byId("publish-message");
  #result = byId("publish-result");

  /** @param {(draft: {topic, producer, message}) => void} onStored hears what was stored */
  constructor(client, onStored) {
    this.#client = client;
    this.#onStored = onStored;
    keepFields(this.#form);
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    this.#form.onkeydown = (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.#form.requestSubmit();
    };
    for (const name of FIELDS) {
      byId(`publish-${name}`).addEventListener("input", () => this.#check(name));
    }
    byId("publish-format").onclick = () => this.#tidy();
  }

  /** What the form holds, as it is written: the message is text. */
  get draft() {
    const [topic, producer, , message] = FIELDS.map((name) => byId(`publish-${name}`).value);
    return { topic: topic.trim(), producer: producer.trim(), message };
  }

  /** Puts a draft into the form, to be looked at before it is sent. */
  load({ topic, producer, message }) {
    const values = { topic, producer, id: "", message };
    for (const name of FIELDS) {
      byId(`publish-${name}`).value = values[name];
      this.#check(name);
    }
    this.#tell("");
    byId("publish-topic").focus();
  }

  /** Publishes a draft as it is, under a new message id. */
  async send({ topic, producer, message }) {
    await this.#publish({ topic, producer, message: lossless.parse(message) }, message);
  }

  async #submit() {
    const problems = FIELDS.filter((name) => !this.#check(name));
    if (problems.length) {
      this.#tell(say("Not sent."), "failed");
      byId(`publish-${problems[0]}`).focus();
      return;
    }
    const { topic, producer, message } = this.draft;
    const message_id = byId("publish-id").value.trim() || undefined;
    await this.#publish({ topic, producer, message_id, message: lossless.parse(message) }, message);
  }

  async #publish(publication, text) {
    const isConnected = this.#client.state.name === "connected";
    this.#tell(say(isConnected ? "Sending…" : "Waiting for the connection…"));
    try {
      const { sequence, duplicate } = await this.#client.publish(publication);
      const place = { number: count(sequence), topic: publication.topic };
      const told = duplicate ? "Stored before, as #{number} of {topic}" : "Stored as #{number} of {topic}";
      this.#tell(say(told, place), "done");
      this.#onStored({ topic: publication.topic, producer: publication.producer, message: text });
    } catch (error) {
      this.#tell(`${error.code}: ${error.message}`, "failed");
    }
  }

  /** Whether a field holds what the server takes; the text below it says what is wrong. */
  #check(name) {
    const input = byId(`publish-${name}`);
    const problem = PROBLEMS[name](name === "message" ? input.value : input.value.trim());
    setText(byId(`${input.id}-error`), problem);
    if (problem) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    return !problem;
  }

  #tidy() {
    if (!this.#check("message")) return;
    this.#message.value = lossless.stringify(lossless.parse(this.#message.value), null, 2);
  }

  #tell(text, state = "busy") {
    this.#result.dataset.state = state;
    setText(this.#result, text);
  }
}

/** By field, what is wrong with a text; "" when nothing is. */
const PROBLEMS = {
  topic: (text) => (text ? told(topicProblem(text)) : say("A topic is needed.")),
  producer: (text) => (text ? told(nameProblem(text)) : say("A producer is needed.")),
  id: (text) => told(nameProblem(text)),
  message: (text) => jsonTextProblem(text, say("a message is needed; null is one")),
};

function told(problem) {
  return problem ? say(problem.text, problem.values) : "";
}
