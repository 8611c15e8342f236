import { byId, setText } from "../page/dom.js";
import { jsonTextProblem } from "../page/json-text.js";
import { say } from "../page/language.js";
import { lossless } from "../page/lossless.js";
import { DOORS, template } from "./doors.js";

const OTHER = "";

/** The form that sends a request: any of the door's, prefilled, or any other event. */
export class Sender {
  #tester;
  #choice = byId("request");
  #event = byId("request-event");
  #body = byId("request-body");
  #door = "/";
  #seen; // the last message that came or went
  #prefilled = ""; // what is made anew after it was sent, so that ids differ

  constructor(tester) {
    this.#tester = tester;
    this.#choice.onchange = () => this.#choose();
    this.#body.oninput = () => this.#check();
    byId("request-reset").onclick = () => this.#choose();
    byId("request-format").onclick = () => {
      if (this.#check() && this.#body.value.trim()) this.#body.value = lossless.stringify(lossless.parse(this.#body.value), null, 2);
    };
    const form = byId("sender");
    form.onsubmit = (event) => {
      event.preventDefault();
      this.#send();
    };
    form.onkeydown = (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    };
    tester.on("state", () => this.#enable());
    tester.on("frame", (frame) => this.#hear(frame));
    this.#enable();
  }

  /** Offers the requests of a door. */
  offer(door) {
    this.#door = door;
    const events = Object.keys(DOORS[door].requests);
    const options = events.map((name) => new Option(name, name));
    this.#choice.replaceChildren(...options, new Option(say("another event…"), OTHER));
    this.#choose();
  }

  #choose() {
    const isOther = this.#choice.value === OTHER;
    byId("request-event-box").hidden = !isOther;
    if (isOther) this.#body.value = "{}";
    else this.#prefill();
    this.#check();
  }

  #hear({ kind, event, value }) {
    if (kind !== "event" || !["message", "publish"].includes(event)) return;
    const { topic, message_id } = value ?? {};
    if (topic && message_id) this.#seen = { topic, message_id };
  }

  #prefill() {
    this.#prefilled = template(this.#door, this.#choice.value, this.#seen);
    this.#body.value = this.#prefilled;
  }

  /** Whether the text can be sent; it may be empty, unless its fields are those of a frame. */
  #check() {
    const text = this.#body.value;
    const isNothing = text.trim() === "";
    let problem = isNothing ? "" : jsonTextProblem(text, "");
    const isObject = () => isNothing || text.trim().startsWith("{");
    if (!problem && DOORS[this.#door].isPlain && !isObject()) problem = say("The fields of a frame are an object.");
    setText(byId("request-body-error"), problem);
    this.#body.toggleAttribute("aria-invalid", false);
    if (problem) this.#body.setAttribute("aria-invalid", "true");
    return !problem;
  }

  #send() {
    const event = this.#choice.value || this.#event.value.trim();
    if (!event) return this.#event.focus();
    if (!this.#check()) return this.#body.focus();
    const text = this.#body.value;
    this.#tester.send(event, text.trim() ? lossless.parse(text) : undefined, byId("request-answer").checked);
    if (text === this.#prefilled) this.#prefill();
  }

  #enable() {
    byId("request-send").disabled = this.#tester.state.name !== "connected";
  }
}
