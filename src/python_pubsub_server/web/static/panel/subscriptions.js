import { arrange, byId, instantiate, setText } from "../page/dom.js";
import { keep, kept, keepFields } from "../page/kept.js";
import { say } from "../page/language.js";
import { nameProblem, subscriptionProblem } from "../page/rules.js";

/** The subscribe form, and the subscriptions that there are, each a button that ends it. */
export class Subscriptions {
  #client;
  #list = byId("subscriptions");
  #consumer = byId("subscribe-consumer");
  #topics = byId("subscribe-topics");
  #after = byId("subscribe-after");

  constructor(client) {
    this.#client = client;
    byId("subscribe").onsubmit = (event) => {
      event.preventDefault();
      this.#attempt(() => this.#subscribe());
    };
    client.on("state", () => this.#show());
    keepFields(byId("subscribe"));
    this.#goOn(kept("subscriptions"));
    keep("subscriptions", () => ({ consumer: client.consumer, topics: client.topics, from: client.place }));
  }

  /** Goes on where the page stood before it was opened anew. */
  #goOn(before) {
    if (!before?.topics.length) return;
    this.#client.consumer = before.consumer;
    this.#attempt(() => this.#client.subscribe(before.topics, before.from));
  }

  async #subscribe() {
    const topics = this.#topics.value.split(/[\s,]+/).filter(Boolean);
    const consumer = this.#consumer.value.trim();
    if (!consumer) throw new Error(say("A consumer is needed."));
    if (!topics.length) throw new Error(say("Write at least one topic."));
    const problem = topics.map(subscriptionProblem).find(Boolean) ?? nameProblem(consumer);
    if (problem) throw new Error(say(problem.text, problem.values));
    if (consumer !== this.#client.consumer && this.#client.topics.length) {
      await this.#client.unsubscribe(); // they were another consumer's
    }
    this.#client.consumer = consumer;
    await this.#client.subscribe(topics, { after: this.#after.value || undefined });
  }

  async #attempt(change) {
    setText(byId("subscribe-error"), "");
    try {
      await change();
    } catch (error) {
      const code = error.code ? `${error.code}: ` : "";
      setText(byId("subscribe-error"), code + error.message);
    }
    this.#show();
  }

  #show() {
    const chips = this.#client.topics.map((topic) => this.#chip(topic));
    arrange(this.#list, chips);
  }

  #chip(topic) {
    const existing = [...this.#list.children].find((chip) => chip.dataset.topic === topic);
    if (existing) return existing;
    const chip = instantiate("chip-template", { topic });
    chip.dataset.topic = topic;
    const button = chip.querySelector("button");
    button.setAttribute("aria-label", say("Unsubscribe from {topic}", { topic }));
    button.onclick = () => {
      this.#topics.focus(); // the button goes away
      this.#attempt(() => this.#client.unsubscribe(topic));
    };
    return chip;
  }
}
