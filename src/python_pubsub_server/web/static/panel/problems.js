import { byId, fill, instantiate } from "../page/dom.js";
import { say } from "../page/language.js";

const MOST_SHOWN = 4;

/** The list of what went wrong: newest first, the same problem once with a count. */
export class Problems {
  #list = byId("problems");
  #times = new Map(); // element → how often

  report(error) {
    const code = error.code ?? error.name;
    const message = error.event ? `${error.event}: ${error.message}` : error.message;
    const same = [...this.#times.keys()].find((element) => element.dataset.text === code + message);
    const element = same ?? this.#add(code, message);
    const times = (this.#times.get(element) ?? 0) + 1;
    this.#times.set(element, times);
    fill(element, { times: times > 1 ? say("{times} times", { times }) : "" });
    while (this.#list.children.length > MOST_SHOWN) this.#remove(this.#list.lastElementChild);
  }

  #add(code, message) {
    const element = instantiate("problem-template", { code, message });
    element.dataset.text = code + message;
    element.querySelector("[data-dismiss]").onclick = () => this.#remove(element);
    this.#list.prepend(element);
    return element;
  }

  #remove(element) {
    this.#times.delete(element);
    element.remove();
  }
}
