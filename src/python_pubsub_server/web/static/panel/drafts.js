import { byId, instantiate, setName, setText } from "../page/dom.js";
import { say } from "../page/language.js";
import { StoredList } from "../page/stored.js";
import { count, showTime } from "../page/text.js";

const MOST_TEMPLATES = 50;
const MOST_SENT = 20;
const LONGEST_SENT = 100_000;

/** Messages that the reader gave a name, to be used again. This browser remembers them. */
export class Templates {
  #stored = new StoredList("pubsub-templates", MOST_TEMPLATES);
  #form;

  constructor(form) {
    this.#form = form;
    byId("templates-save").onsubmit = (event) => {
      event.preventDefault();
      this.#save(byId("templates-name").value.trim());
    };
    this.#show();
  }

  #save(name) {
    const error = byId("templates-error");
    setText(error, name ? "" : say("Give the template a name."));
    if (!name) {
      byId("templates-name").focus();
      return;
    }
    const isStored = this.#stored.add({ name, ...this.#form.draft }, (each) => each.name === name);
    if (!isStored) setText(error, say("This browser has no room for it."));
    else byId("templates-name").value = "";
    this.#show();
  }

  #show() {
    const templates = this.#stored.read();
    setText(byId("templates-count"), count(templates.length));
    byId("templates-list").replaceChildren(...templates.map((each, index) => this.#row(each, index)));
  }

  #row(template, index) {
    const element = instantiate("template-template", { preview: preview(template.message) });
    setName(element.querySelector('[data-field="name"]'), template.name);
    setName(element.querySelector('[data-field="topic"]'), template.topic);
    const load = element.querySelector("[data-load]");
    load.onclick = () => this.#form.load(template);
    load.setAttribute("aria-label", say("Use the template {name}", template));
    const remove = element.querySelector("[data-remove]");
    remove.setAttribute("aria-label", say("Delete the template {name}", template));
    remove.onclick = () => {
      this.#stored.remove(index);
      this.#show();
      byId("templates-name").focus(); // the button is gone
    };
    return element;
  }
}

/** What was published here lately, to be sent again or changed. This browser remembers it. */
export class Sent {
  #stored = new StoredList("pubsub-sent", MOST_SENT);
  #form;

  constructor(form) {
    this.#form = form;
    byId("sent-clear").onclick = () => {
      this.#stored.clear();
      this.#show();
      byId("sent").querySelector("summary").focus(); // the button goes away
    };
    this.#show();
  }

  /** Hears of a draft that was stored. */
  add(draft) {
    if (draft.message.length > LONGEST_SENT) return;
    const isSame = (each) => ["topic", "producer", "message"].every((name) => each[name] === draft[name]);
    this.#stored.add({ ...draft, at: Date.now() / 1000 }, isSame);
    this.#show();
  }

  #show() {
    const sent = this.#stored.read();
    setText(byId("sent-count"), count(sent.length));
    byId("sent-list").replaceChildren(...sent.map((each) => this.#row(each)));
    byId("sent-empty").hidden = sent.length > 0;
    byId("sent-clear").hidden = sent.length === 0;
  }

  #row(draft) {
    const element = instantiate("sent-template", { preview: preview(draft.message) });
    setName(element.querySelector('[data-field="topic"]'), draft.topic);
    showTime(element.querySelector("time"), draft.at);
    const [edit, again] = ["edit", "again"].map((name) => element.querySelector(`[data-${name}]`));
    edit.onclick = () => this.#form.load(draft);
    edit.setAttribute("aria-label", say("Edit the message to {topic}", draft));
    again.onclick = () => {
      again.closest("details").querySelector("summary").focus(); // the row is made anew
      this.#form.send(draft);
    };
    again.setAttribute("aria-label", say("Send the message to {topic} again", draft));
    return element;
  }
}

function preview(text) {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > 120 ? `${line.slice(0, 120)}…` : line;
}
