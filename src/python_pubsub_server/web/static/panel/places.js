/** Which part of the panel is shown: the address says it, so that it can be kept, sent, gone back from. */

const FIELDS = ["topic", "q", "producer", "at", "before"];

/** The address of a place: `{}` is the panel, `{topic, q?, producer?, at?, before?}` in a topic. */
export function hrefOf(place) {
  const query = new URLSearchParams(location.search);
  for (const name of FIELDS) {
    if (place[name]) query.set(name, place[name]);
    else query.delete(name);
  }
  return query.size ? `${location.pathname}?${query}` : location.pathname;
}

/** Lets a link lead to a place without leaving the page. */
export function leadTo(link, place) {
  link.href = hrefOf(place);
  link.dataset.place = "";
}

export class Places {
  #onChange;

  /** @param {(place, isReturn: boolean) => void} onChange hears of every change but the first place */
  constructor(onChange) {
    this.#onChange = onChange;
    addEventListener("popstate", () => onChange(this.current, true));
    document.addEventListener("click", (event) => this.#click(event));
  }

  get current() {
    const query = new URLSearchParams(location.search);
    const place = Object.fromEntries(FIELDS.map((name) => [name, query.get(name) || undefined]));
    return { ...place, at: sequenceOf(place.at), before: sequenceOf(place.before) };
  }

  go(place) {
    this.#follow(hrefOf(place));
  }

  #follow(href) {
    if (href === location.pathname + location.search) return;
    history.pushState(null, "", href);
    this.#onChange(this.current, false);
  }

  /** What means "in another tab" stays the browser's. */
  #click(event) {
    const link = event.target.closest?.("a[data-place]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.#follow(link.getAttribute("href"));
  }
}

function sequenceOf(text) {
  const number = Number(text);
  return /^\d+$/.test(text ?? "") && number >= 1 && Number.isSafeInteger(number) ? number : undefined;
}
