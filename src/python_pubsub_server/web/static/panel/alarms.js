import { arrange, byId, instantiate, setText } from "../page/dom.js";
import { say } from "../page/language.js";
import { count, showTime } from "../page/text.js";
import { gist } from "./gist.js";

const MOST_SHOWN = 100;

/**
 * The server's warnings and errors as they happen, newest first, and how many the reader has not
 * seen: the list is closed until it is opened.
 */
export class Alarms {
  #box = byId("alarms");
  #list = byId("alarms-list");
  #known = new Set(); // the server tells its last ones again at each connection
  #unseenBy = { warning: 0, error: 0 };
  unseen = 0;
  onCount = () => {}; // hears that `unseen` may have changed

  constructor() {
    this.#box.ontoggle = () => this.#show();
    document.addEventListener("visibilitychange", () => this.#show());
    byId("alarms-clear").onclick = () => {
      arrange(this.#list, []);
      this.#show();
      this.#box.querySelector("summary").focus(); // the button goes away
    };
    this.#show();
  }

  /** Hears of the server's `server_error`. */
  add({ timestamp, level, event, text }) {
    const key = `${timestamp}\n${event}\n${text}`;
    if (this.#known.has(key)) return;
    this.#known.add(key);
    if (this.#known.size > 10 * MOST_SHOWN) this.#known.delete(this.#known.values().next().value);
    const kind = level === "warning" ? "warning" : "error";
    const element = instantiate("alarm-template", { level: say(kind), event, text });
    element.dataset.level = kind;
    element.dataset.gist = gist({ event, text });
    showTime(element.querySelector("time"), timestamp);
    this.#list.prepend(element);
    while (this.#list.children.length > MOST_SHOWN) this.#list.lastElementChild.remove();
    this.#unseenBy[kind] += 1;
    this.#show();
  }

  #show() {
    if (this.#box.open && !document.hidden) this.#unseenBy = { warning: 0, error: 0 };
    const { warning, error } = this.#unseenBy;
    const badge = byId("alarms-badge");
    badge.hidden = warning + error === 0;
    badge.dataset.level = error ? "error" : "warning";
    setText(badge, say("{number} new", { number: count(warning + error) }));
    const shown = this.#list.children.length;
    byId("alarms-empty").hidden = shown > 0;
    byId("alarms-clear").hidden = shown === 0;
    setText(byId("alarms-last"), this.#list.firstElementChild?.dataset.gist ?? say("none"));
    this.unseen = warning + error;
    this.onCount();
  }
}
